"""How the rows of one file are to be read: which column is which field, and the order of day and month in its dates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import polars as pl

from jobs.ingest.column_mapping import Naming, name_columns
from jobs.ingest.persons import mask
from jobs.ingest.readers.raw import RawBatch, RawFile
from jobs.ingest.sources.records import COLUMNS
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import TABLES
from recsys.errors import DataError
from recsys.values.times import DateOrderEvidence

PEEKED_ROWS: Final = 1_000
PEEKED_BATCHES: Final = 3
EVIDENCE_BATCH_ROWS: Final = 50_000

TIME_COLUMN: Final = {"events": "timestamp", "catalog": "updated_at", "reviews": "timestamp"}


def namings_of(raw: RawFile, spec: SourceSpec) -> dict[str, Naming]:
    """Table -> how its rows in this file are named. Connectors give rows under our names already.

    Raises DataError as `name_columns` does, and where the order of the dates cannot be told.
    """
    first = list(islice(raw.batches(PEEKED_ROWS), PEEKED_BATCHES))
    if raw.format:
        ours = {table: {name: name for name in columns} for table, columns in COLUMNS.items()}
        namings = {table: Naming(ours[table], _constants(spec, table)) for table in TABLES}
    else:
        for column, value in spec.options.where:
            if column not in raw.columns:
                has = mask(", ".join(raw.columns))
                raise DataError(f"--where {column}={value}: {raw.path} has no column {column!r}; it has {has}")
        sample = first[0].rows if first else pl.DataFrame()
        namings = {raw.table: name_columns(raw, spec, sample, spec.options.values)}
    return {table: _with_date_order(raw, first, table, naming, spec) for table, naming in namings.items()}


def _constants(spec: SourceSpec, table: str) -> dict[str, str]:
    prefix = f"{table}."
    return {target.removeprefix(prefix): value for target, value in spec.constants.items() if target.startswith(prefix)}


def _with_date_order(raw: RawFile, first: Sequence[RawBatch], table: str, naming: Naming, spec: SourceSpec) -> Naming:
    """The naming with the order of `--date-order`, or the one that all dates of the file agree on."""
    ours = TIME_COLUMN.get(table)
    column = naming.columns.get(ours or "")
    if spec.options.date_order or column is None or ours in naming.constants:
        return replace(naming, date_order=spec.options.date_order)
    evidence = DateOrderEvidence(f"{raw.path}, column {column!r}")
    _add(evidence, first, raw, table, column)
    if evidence.n_dates:
        evidence = DateOrderEvidence(evidence.what)
        _add(evidence, raw.batches(EVIDENCE_BATCH_ROWS), raw, table, column)
    return replace(naming, date_order=evidence.decide())


def _add(evidence: DateOrderEvidence, batches: Iterable[RawBatch], raw: RawFile, table: str, column: str) -> None:
    for batch in batches:
        if (batch.table or raw.table) == table and column in batch.rows.columns:
            evidence.add(batch.rows[column])
