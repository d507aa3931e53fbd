"""What an ingest would do with files, without doing it: formats, columns, rows left out or bad, and the first rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from features.workspace.erased_users import read_erased
from features.workspace.user_ids import UserIds
from jobs.ingest.namings import namings_of
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.readers.remote import localised
from jobs.ingest.report import TableCount
from jobs.ingest.rows import RowReader
from jobs.ingest.sources.registry import open_source
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.aliases import AliasMap
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.workspace import Workspace

SHOWN_ROWS: Final = 5
MAX_ROWS: Final = 100_000
"""Rows of a table that a preview reads of each file."""


@dataclass(frozen=True)
class FilePreview:
    """One file. columns: our column -> the source's, by table; counts: rows read, left out and bad, by table; rows: the
    first `SHOWN_ROWS` of each table, as they would be stored; is_whole: false where only a part was read."""

    path: Path
    format: str
    columns: Mapping[str, str]
    counts: Mapping[str, TableCount]
    rows: Mapping[str, pl.DataFrame]
    notes: Mapping[str, int]
    is_whole: bool


def preview(workspace: Workspace, spec: SourceSpec, settings: IngestSettings, now: datetime) -> list[FilePreview]:
    """Read the files of `spec` as `ingest` would; nothing is written. Raises DataError as `ingest` does, except that
    any share of rows may be bad."""
    lake = Lake(workspace.lake)
    reader = RowReader(
        spec.options,
        now,
        now + timedelta(hours=settings.future_slack_hours),
        read_erased(workspace),
        None if spec.options.keep_user_ids else UserIds.throwaway(),
        AliasMap.read(lake),
    )
    return [_preview(raw, reader, spec) for raw in open_source(localised(spec, lake.root))]


def _preview(raw: RawFile, reader: RowReader, spec: SourceSpec) -> FilePreview:
    namings = namings_of(raw, spec)
    counts: dict[str, TableCount] = {}
    rows: dict[str, pl.DataFrame] = {}
    is_whole = True
    for batch in raw.batches(SHOWN_ROWS * 2_000):
        table = batch.table or raw.table
        good = reader.read(table, batch, namings[table], counts.setdefault(table, TableCount())).good
        if table not in rows or rows[table].height < SHOWN_ROWS:
            rows[table] = pl.concat([rows[table], good]).head(SHOWN_ROWS) if table in rows else good.head(SHOWN_ROWS)
        if sum(count.n_read for count in counts.values()) >= MAX_ROWS:
            is_whole = False
            break
    columns = {} if raw.format else dict(namings[raw.table].columns)
    shown = {ours: source for ours, source in columns.items() if source in raw.columns}
    return FilePreview(raw.path, raw.format, shown, counts, rows, raw.notes(), is_whole)
