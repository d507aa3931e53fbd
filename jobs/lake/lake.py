"""The lake: checked catalogue, aliases, events and reviews as Parquet files, and the manifest that says which of them
count.

A partition (a day of events, a month of reviews, the whole catalogue) is one file named by the SHA-256 of its
content. A commit writes the new files, flushes them, replaces `manifest.json` in one atomic rename, and only then
deletes the files that the manifest no longer lists, neither as live nor for an ingest to be undone
(`jobs/lake/history.py`). Readers go through the manifest, so a crash between any two of these steps leaves the lake as
it was; the next commit removes the leftover files. A partition's rows are sorted before they are written, so equal rows
give equal digests, in whatever order and in however many files they arrived.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import dataframely as dy
import polars as pl
from pydantic import TypeAdapter

from features.workspace.atomic_files import sync, write_atomically
from features.workspace.lake_files import EVENT_DAY, MANIFEST, SCHEMAS, LakeFile, read_manifest, scan_files
from jobs.lake.history import History, read_history

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableLayout:
    """How one table lies in the lake.

    key: the column that names a row. version: the column that orders rows with one key within one ingest, before their
    arrival. merge: what becomes of rows with one key. "first": the first ingested wins; "last": the last ingest wins,
    and in it the newest version; "fields": in that order, each field takes its last value that is not null.
    day_format: strftime of the partition, where the table is partitioned by its timestamp. order: the rows of a file
    are sorted by these columns.
    """

    schema: type[dy.Schema]
    key: str
    version: str | None
    merge: Literal["first", "last", "fields"]
    day_format: str | None
    order: tuple[str, ...]

    def polars_schema(self) -> dict[str, pl.DataType]:
        """Column name -> data type, in the order of the schema."""
        return {name: column.dtype for name, column in self.schema.columns().items()}

    def partition(self) -> pl.Expr:
        """The folder of a row inside the table's folder; "" where the table is not partitioned."""
        return pl.lit("") if self.day_format is None else pl.col("timestamp").dt.strftime(self.day_format)


TABLES: Final[Mapping[str, TableLayout]] = {
    "catalog": TableLayout(SCHEMAS["catalog"], "item_id", "updated_at", "fields", None, ("item_id",)),
    "aliases": TableLayout(SCHEMAS["aliases"], "alias", None, "last", None, ("alias",)),
    "events": TableLayout(SCHEMAS["events"], "event_id", None, "first", EVENT_DAY, ("timestamp", "event_id")),
    "reviews": TableLayout(
        SCHEMAS["reviews"], "review_id", "timestamp", "last", "month=%Y-%m", ("timestamp", "review_id")
    ),
}


@dataclass(frozen=True)
class LakeManifest:
    """What a commit writes: the live files, by path, and the history of ingests."""

    files: tuple[LakeFile, ...]
    history: History
    version: int = 1


_MANIFEST: Final = TypeAdapter(LakeManifest)


class Lake:
    """The lake of one workspace, as its manifest was when it was opened; open it again to see a later commit.

    `files` are the live files, by path. Raises DataError where the manifest cannot be read.
    A writer must hold a lease (`features/workspace/lease.py`): two writers would undo each other's commits.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = root / MANIFEST
        self.files = read_manifest(self.manifest)
        self._unflushed: list[Path] = []

    @cached_property
    def history(self) -> History:
        """The last ingests, and what they changed."""
        return read_history(self.manifest)

    def scan(self, table: str, since: datetime | None = None) -> pl.LazyFrame:
        """The rows of `table`, typed as its schema, empty where nothing was ingested; no order is promised.

        since: keep rows with `timestamp >= since` (events and reviews); partitions before it are not opened.
        Raises DataError where a live file is missing.
        """
        layout = TABLES[table]
        live = [file for file in self.files if file.table == table]
        if since is not None:
            if layout.day_format is None:
                raise ValueError(f"{table} has no timestamp to read it by")
            live = [file for file in live if file.partition >= since.strftime(layout.day_format)]
        rows = self._read(table, live)
        return rows if since is None else rows.filter(pl.col("timestamp") >= since)

    def partitions(self, table: str, partitions: Iterable[str]) -> pl.LazyFrame:
        """The rows of the named partitions, as `scan`."""
        names = set(partitions)
        return self._read(table, [f for f in self.files if f.table == table and f.partition in names])

    def _read(self, table: str, live: Sequence[LakeFile]) -> pl.LazyFrame:
        return scan_files(self.root, table, live)

    def n_rows(self, table: str) -> int:
        """Rows of `table`, from the manifest alone."""
        return sum(file.rows for file in self.files if file.table == table)

    def digest(self, before: datetime | None = None) -> str:
        """SHA-256 over the live files, hex: two lakes with equal rows have equal digests.

        before: without the partitions that begin after it.
        """
        listed = [file for file in self.files if before is None or _begins_by(file, before)]
        content = "\n".join(f"{file.path} {file.digest}" for file in sorted(listed, key=lambda f: f.path))
        return hashlib.sha256(content.encode()).hexdigest()

    def write(self, table: str, rows: pl.DataFrame, partitions: Iterable[str]) -> list[LakeFile]:
        """Write what `partitions` shall hold from the next commit on, nothing where `rows` has none for one of them.

        rows: of these partitions alone, with the columns of the schema at least. No reader sees them until a commit.
        """
        layout = TABLES[table]
        columns = list(layout.polars_schema())
        names = sorted(partitions)
        if len(names) == 1:
            return [self._write(table, names[0], rows.select(columns).sort(layout.order))]
        rows = rows.select(*columns, layout.partition().alias("partition"))
        parts = {str(key): part for (key,), part in rows.partition_by("partition", as_dict=True).items()}
        none = rows.clear()
        return [self._write(table, name, parts.get(name, none).drop("partition").sort(layout.order)) for name in names]

    def _write(self, table: str, partition: str, rows: pl.DataFrame) -> LakeFile:
        if rows.is_empty():
            return LakeFile(table, partition, "", 0, "")
        buffer = io.BytesIO()
        rows.write_parquet(buffer, compression="zstd")
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
        folder = self.root / table / partition
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{digest[:16]}.parquet"
        writing = path.with_suffix(".tmp")
        writing.write_bytes(buffer.getbuffer())
        writing.replace(path)
        self._unflushed.append(path)
        return LakeFile(table, partition, str(path.relative_to(self.root)), rows.height, digest)

    def commit(self, written: Iterable[LakeFile], history: History | None = None) -> Lake:
        """Make `written` the content of their partitions (none where a file has no rows); all of it or nothing.

        history: replaces the one before, which stays by default. Returns the lake after the commit.
        """
        history = self.history if history is None else history
        changed = {(file.table, file.partition): file for file in written}
        unchanged = [file for file in self.files if (file.table, file.partition) not in changed]
        live = sorted([*unchanged, *(file for file in changed.values() if file.rows)], key=lambda file: file.path)
        if len(self._unflushed) > _SYNC_ALL_FROM:
            os.sync()
        else:
            for path in self._unflushed:
                sync(path)
        self._unflushed.clear()
        write_atomically(self.manifest, _MANIFEST.dump_json(LakeManifest(tuple(live), history), indent=1))
        _delete_unlisted(self.root, {file.path for file in live} | history.files())
        log.info("lake_committed root=%s partitions_changed=%d files=%d", self.root, len(changed), len(live))
        return Lake(self.root)


_SYNC_ALL_FROM = 64
"""With more new files than this, one sync of the machine is cheaper than one flush a file (`docs/decisions.md`)."""


def _begins_by(file: LakeFile, moment: datetime) -> bool:
    day_format = TABLES[file.table].day_format
    return day_format is None or file.partition <= moment.strftime(day_format)


def _delete_unlisted(root: Path, listed: set[str]) -> None:
    for table in TABLES:
        for folder, _, names in os.walk(root / table, topdown=False):
            for name in names:
                path = Path(folder, name)
                if str(path.relative_to(root)) not in listed:
                    path.unlink()
            if not any(Path(folder).iterdir()):
                shutil.rmtree(folder)
