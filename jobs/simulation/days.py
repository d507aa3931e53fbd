"""The files of a simulation: its world, and one file a day that is written as soon as the day is known.

A day's file holds its figures and its events before any of them is sent. A run that dies later sends the same events
again, which changes nothing, so that no day is played twice in two ways.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.workspace.atomic_files import write_atomically
from recsys.errors import DataError
from recsys.simulate.tastes import Ints

_WORLD: Final = "world.json"
_FIRST_RELEASE: Final = "first-release.npz"


@dataclass(frozen=True)
class World:
    """What stays the same from day to day. start: midnight before the first day; shoppers: that visit each day; count:
    products of a list; rest_after: looks without a click after which a product is left out of a shopper's lists, 0 for
    never."""

    start: datetime
    seed: int
    shoppers: int
    count: int
    rest_after: int

    def begin(self, number: int) -> datetime:
        """Of day `number`, from 1."""
        return self.start + timedelta(days=number - 1)


@dataclass(frozen=True)
class SimulatedNight:
    """published: the release that the service answers from after it; None where the night published none."""

    published: str | None
    seconds: float


@dataclass(frozen=True)
class Day:
    """figures: by arm; night: None until it is over."""

    number: int
    release_id: str
    figures: Mapping[str, Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]] = field(repr=False)
    night: SimulatedNight | None = None


class Days:
    """The folder of one simulation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def world(self) -> World | None:
        """None where nothing was simulated here yet."""
        told = self._read(self.folder / _WORLD)
        return World(datetime.fromisoformat(told.pop("start")), **told) if told else None

    def begin(self, world: World) -> None:
        """Keep the world. Raises DataError where the folder holds another one, of which days would be mixed in."""
        before = self.world()
        if before is not None and before != world:
            options = f"--seed {before.seed} --shoppers {before.shoppers} --count {before.count}"
            options += f" --rest-after {before.rest_after}"
            raise DataError(f"{self.folder}: holds a simulation with {options}; choose another --out, or these numbers")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(_WORLD, asdict(world) | {"start": world.start.isoformat()})

    def first_release(self) -> Ints | None:
        """(n_users, n) items that the first release lists for every shopper; None before they were asked for."""
        path = self.folder / _FIRST_RELEASE
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            rows: Ints = arrays["rows"]
        return rows

    def keep_first_release(self, rows: Ints) -> None:
        """As `first_release` reads them; a file that is half written is never read."""
        half = self.folder / f"half-{_FIRST_RELEASE}"
        np.savez(half, rows=rows)
        half.replace(self.folder / _FIRST_RELEASE)

    def day(self, number: int) -> Day | None:
        """None where the day was not played yet."""
        told = self._read(self._path(number))
        if not told:
            return None
        night = told.pop("night")
        return Day(**told, night=SimulatedNight(**night) if night else None)

    def keep(self, day: Day) -> None:
        self._write(self._path(day.number).name, asdict(day))

    def played(self) -> list[Day]:
        """Whole days in their order, without a gap."""
        days: list[Day] = []
        while (day := self.day(len(days) + 1)) is not None and day.night is not None:
            days.append(day)
        return days

    def _path(self, number: int) -> Path:
        return self.folder / f"day-{number:03d}.json"

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomically(self.folder / name, json.dumps(content).encode())

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            told: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DataError(f"{path}: damaged ({error}); remove it, and the day is played again") from None
        return told
