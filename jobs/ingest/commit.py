"""Commits of ingests: the lake's new content together with the history entry by which it can be undone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from features.workspace.lake_files import LakeFile
from jobs.ingest.seen_files import TakenFile
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.history import Change, History
from jobs.lake.lake import Lake
from jobs.lake.merge import Merged
from jobs.lake.staging import Staging

_CONFIG: Final = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_CONFIG)
class FilesTaken:
    """Files of a source. spec: as it is noted for later runs; paths: the files that were taken of it, without globs."""

    spec: SourceSpec
    paths: dict[str, tuple[str, ...]]
    files: list[TakenFile]
    kind: Literal["files"] = "files"

    def describe(self) -> str:
        first = self.files[0].path if self.files else "no file"
        return f"{first} and {len(self.files) - 1} more" if len(self.files) > 1 else first


@dataclass(frozen=True, config=_CONFIG)
class RangeTaken:
    """What a live database had stored after number `after`, up to and with `up_to`."""

    kind: Literal["events", "item changes"]
    database_id: str
    shown: str
    after: int
    up_to: int

    def describe(self) -> str:
        return f"{self.kind} {self.after + 1:,} to {self.up_to:,} of {self.shown}"


Source = FilesTaken | RangeTaken
_SOURCE: Final[TypeAdapter[Source]] = TypeAdapter(Annotated[Source, Field(discriminator="kind")])


def source_of(change: Change) -> Source:
    """What it took."""
    return _SOURCE.validate_python(change.source)


def commit_ingest(
    lake: Lake, staging: Staging, merged: Mapping[str, Merged], source: Source, now: datetime, keep: int
) -> None:
    """Make what was merged the lake's content, and note what it held before.

    keep: so many ingests can be undone. One that changes nothing is an entry, too, unless another has taken the same:
    its rows would be lost when the earlier ingest of them is undone.
    """
    written = [file for table in merged.values() for file in table.files]
    if not keep:
        if written:
            lake.commit(written, History(lake.history.last_id))
        return
    staged = {(table, name) for table in staging.tables() for name in staging.n_rows(table)}
    if not written and (not staged or _is_known(source, lake.history)):
        return
    live = {(file.table, file.partition): file for file in lake.files}
    changed = [(file.table, file.partition) for file in written]
    change = Change(
        id=lake.history.last_id + 1,
        at=now,
        source=_SOURCE.dump_python(source, mode="json"),
        rows={table: (result.n_new, result.n_updated) for table, result in merged.items()},
        before=tuple(live.get(key, nothing(*key)) for key in changed),
        known=tuple(sorted(staged.difference(changed))),
    )
    lake.commit(written, lake.history.with_change(change, keep))


def nothing(table: str, partition: str) -> LakeFile:
    """What a partition holds before its first row comes in."""
    return LakeFile(table, partition, "", 0, "")


def _is_known(source: Source, history: History) -> bool:
    return any(_holds(source_of(change), source) for change in history.changes)


def _holds(earlier: Source, source: Source) -> bool:
    if isinstance(earlier, FilesTaken) and isinstance(source, FilesTaken):
        return {file.digest for file in source.files} <= {file.digest for file in earlier.files}
    if isinstance(earlier, RangeTaken) and isinstance(source, RangeTaken):
        same = (earlier.kind, earlier.database_id) == (source.kind, source.database_id)
        return same and earlier.after <= source.after and source.up_to <= earlier.up_to
    return False
