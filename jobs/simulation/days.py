"""The files of a simulation: its settings, and one file per day, written as soon as the day has been simulated.

A day's file holds its figures and its events before any event is sent. If a run dies later, the rerun sends the same
events again, which changes nothing, so that no day is simulated twice with different results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from features.workspace.atomic_files import write_atomically
from recsys.errors import DataError
from recsys.simulate.tastes import Ints

T = TypeVar("T")

_WORLD_FILE: Final = "world.json"
_FIRST_RELEASE: Final = "first-release.npz"


@dataclass(frozen=True)
class World:
    """The settings of a simulation, the same on every day.

    start: midnight before the first day; shoppers: who visit each day; count: items per list; rest_after: views without
    a click after which an item is hidden from a shopper's lists, 0 for never.
    """

    start: datetime
    seed: int
    shoppers: int
    count: int
    rest_after: int

    def begin(self, number: int) -> datetime:
        """Midnight at the start of day `number`, counted from 1."""
        return self.start + timedelta(days=number - 1)


@dataclass(frozen=True)
class Figures:
    """One arm on one day.

    click_rate: clicks by items viewed; purchase_rate: purchases by lists; *_error: half the width of the 95 % interval
    over visits; coverage, exposure_gini: over the available items; diversity: 1 - the mean cosine of two items' true
    vectors, over the items of a list that were viewed.
    """

    n_lists: int
    n_shown: int
    n_clicks: int
    n_carts: int
    n_purchases: int
    click_rate: float
    click_rate_error: float
    purchase_rate: float
    purchase_rate_error: float
    coverage: float
    diversity: float
    exposure_gini: float


@dataclass(frozen=True)
class SimulatedRun:
    """The nightly run after a day. published: the release that the service uses from then on; None if the run published
    none."""

    published: str | None
    seconds: float


@dataclass(frozen=True)
class Day:
    """figures: by arm; events: as `POST /v1/events` takes them; run: None until the nightly run has ended."""

    number: int
    release_id: str
    figures: Mapping[str, Figures]
    events: Sequence[Mapping[str, Any]] = field(repr=False)
    run: Annotated[SimulatedRun | None, Field(alias="night")] = None


_WORLD: Final = TypeAdapter(World)
_DAY: Final = TypeAdapter(Day)


class Days:
    """The folder of one simulation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def world(self) -> World | None:
        """The saved settings; None if nothing has been simulated here."""
        return _read(_WORLD, self.folder / _WORLD_FILE)

    def begin(self, world: World) -> None:
        """Save the settings. Raises DataError if the folder holds a simulation with other settings."""
        saved = self.world()
        if saved is not None and saved != world:
            options = f"--seed {saved.seed} --shoppers {saved.shoppers} --count {saved.count}"
            options += f" --rest-after {saved.rest_after}"
            raise DataError(
                f"{self.folder}: holds a simulation with {options}; choose another --out or use the same options"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / _WORLD_FILE, _WORLD.dump_json(world))

    def first_release(self) -> Ints | None:
        """(n_users, n) items that the first release lists for every shopper; None if they have not been saved."""
        path = self.folder / _FIRST_RELEASE
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            rows: Ints = arrays["rows"]
        return rows

    def save_first_release(self, rows: Ints) -> None:
        """Save what `first_release` reads. An incomplete file is never read."""
        half = self.folder / f"half-{_FIRST_RELEASE}"
        np.savez(half, rows=rows)
        half.replace(self.folder / _FIRST_RELEASE)

    def day(self, number: int) -> Day | None:
        """None if the day has not been simulated."""
        return _read(_DAY, self._path(number))

    def save(self, day: Day) -> None:
        write_atomically(self._path(day.number), _DAY.dump_json(day, by_alias=True))

    def played(self) -> list[Day]:
        """The days whose nightly run has ended, in order, up to the first gap."""
        days: list[Day] = []
        while (day := self.day(len(days) + 1)) is not None and day.run is not None:
            days.append(day)
        return days

    def _path(self, number: int) -> Path:
        return self.folder / f"day-{number:03d}.json"


def _read(record: TypeAdapter[T], path: Path) -> T | None:
    """None if there is no such file. Raises DataError for a damaged one."""
    try:
        return record.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise DataError(f"{path}: damaged ({message}); delete it to simulate the day again") from None
