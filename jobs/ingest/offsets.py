"""How far a log of the live database has been read into the lake: `lake/event_log.json`, `lake/item_changes.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter

from features.workspace.record_file import RecordFile
from recsys.errors import DataError


@dataclass(frozen=True)
class EventOffset:
    """event_seq: number of the last event that was read from the database of this id."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(coerce_numbers_to_str=True)

    database_id: str
    event_seq: int
    version: int = 1

    @property
    def reached(self) -> int:
        return self.event_seq


@dataclass(frozen=True)
class ItemOffset:
    """item_version: version of the last item change that was read from the database of this id."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(coerce_numbers_to_str=True)

    database_id: str
    item_version: int
    version: int = 1

    @property
    def reached(self) -> int:
        return self.item_version


OffsetT = TypeVar("OffsetT", EventOffset, ItemOffset)


@dataclass(frozen=True)
class OffsetFile(Generic[OffsetT]):
    """record: class of the file's content; log, everything: what the log and all of it are called in messages."""

    file: RecordFile[OffsetT]
    record: type[OffsetT]
    log: str
    everything: str

    def read(self, lake: Path, database_id: str) -> int:
        """How far this very log was read, 0 for another database. Raises DataError where the file is damaged."""
        try:
            offset = self.file.read(lake)
        except FileNotFoundError:
            return 0
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"{lake / self.file.name}: damaged offset of the {self.log} ({reason}); remove it, and "
                f"{self.everything} read again"
            ) from None
        return offset.reached if offset.database_id == database_id else 0

    def write(self, lake: Path, database_id: str, reached: int) -> None:
        self.file.write(lake, self.record(database_id, reached))


EVENTS_READ: Final = OffsetFile(
    RecordFile("event_log.json", TypeAdapter(EventOffset)), EventOffset, "event log", "the whole log is"
)
ITEMS_READ: Final = OffsetFile(
    RecordFile("item_changes.json", TypeAdapter(ItemOffset)), ItemOffset, "item changes", "all of them are"
)
