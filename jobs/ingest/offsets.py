"""How far a log of the live database has been read into the lake: `lake/event_log.json`, `lake/item_changes.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.workspace.atomic_files import write_atomically
from recsys.errors import DataError


@dataclass(frozen=True)
class PositionFile:
    """name: in the lake's folder; field: of its JSON; log, everything: what it is called in messages."""

    name: str
    field: str
    log: str
    everything: str

    def read(self, lake: Path, database_id: str) -> int:
        """Where the last night stopped in this very log, 0 in another. Raises DataError where the file is damaged."""
        path = lake / self.name
        try:
            position = json.loads(path.read_bytes())
            return int(position[self.field]) if position["database_id"] == database_id else 0
        except FileNotFoundError:
            return 0
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: damaged position in the {self.log} ({error}); remove it, and {self.everything} read again"
            ) from None

    def write(self, lake: Path, database_id: str, reached: int) -> None:
        content = {"version": 1, "database_id": database_id, self.field: reached}
        write_atomically(lake / self.name, json.dumps(content).encode())


EVENTS_READ: Final = PositionFile("event_log.json", "event_seq", "event log", "the whole log is")
ITEMS_READ: Final = PositionFile("item_changes.json", "item_version", "item changes", "all of them are")
