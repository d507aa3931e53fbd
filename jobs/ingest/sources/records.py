"""Rows as a connector yields them, one at a time, and the batches that the ingest takes.

A connector turns a file of a shop's system into records of our tables: one source row may give several records, or
none. Values stay as the source wrote them; `jobs/ingest/parsing.py` parses them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.json_documents import as_text
from jobs.ingest.readers.raw import BrokenRow, RawBatch, RawFile, row_numbers
from jobs.ingest.readers.rows import any_rows
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import TABLES

COLUMNS: Final = {name: tuple(layout.polars_schema()) for name, layout in TABLES.items()}

OTHER_ID: Final = "other_id"
"""A second id of the item of an event or review; where it is a known alias, it counts before `item_id`."""


@dataclass(frozen=True)
class Row:
    """A row of `table`. number: the 1-based row of the file that it comes from. values: our column -> raw value; a
    column that is absent is unknown."""

    table: str
    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class LeftOut:
    """A source row that gives no record of `table`, and why: a draft product, a page scroll."""

    table: str
    number: int
    reason: str


Record = Row | LeftOut | BrokenRow


@dataclass
class Notes:
    """What a connector counts while it reads, shown after the ingest: `notes["variants"] += 1`."""

    counts: Counter[str] = field(default_factory=Counter)

    def __getitem__(self, name: str) -> int:
        return self.counts[name]

    def __setitem__(self, name: str, count: int) -> None:
        self.counts[name] = count


def record_file(
    file: DataFile,
    table: str,
    label: str,
    records: Callable[[Notes], Iterator[Record]],
    *,
    others: tuple[DataFile, ...] = (),
) -> RawFile:
    """The RawFile of a connector.

    table: the main table, which a row that cannot be read counts for. label: the format, as shown to the user.
    records: called once a reading, with the notes to fill. others: files that the content depends on as well.
    """
    notes = Notes()

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        notes.counts.clear()
        yield from batched(records(notes), table, batch_rows)

    return RawFile(
        table=table,
        path=file.path,
        columns=COLUMNS[table],
        batches=batches,
        inputs=tuple(dict.fromkeys((file.path, *(other.path for other in others)))),
        format=label,
        notes=lambda: {name: count for name, count in notes.counts.items() if count},
    )


def batched(records: Iterator[Record], table: str, batch_rows: int) -> Iterator[RawBatch]:
    """The records in batches of about `batch_rows` source records; a batch holds rows of one table."""
    batch = _Batch(table)
    for record in records:
        batch.add(record)
        if batch.n_records >= batch_rows:
            yield from batch.flush()
            batch = _Batch(table)
    yield from batch.flush()


class _Batch:
    def __init__(self, table: str) -> None:
        self.n_records = 0
        self._table = table
        self._rows: dict[str, list[Row]] = defaultdict(list)
        self._left_out: dict[str, Counter[str]] = defaultdict(Counter)
        self._broken: list[BrokenRow] = []

    def add(self, record: Record) -> None:
        self.n_records += 1
        match record:
            case Row():
                self._rows[record.table].append(record)
            case LeftOut():
                self._left_out[record.table][record.reason] += 1
            case _:
                self._broken.append(record)

    def flush(self) -> Iterator[RawBatch]:
        broken_table = {self._table} if self._broken else set()
        for table in [name for name in TABLES if name in {*self._rows, *self._left_out, *broken_table}]:
            rows = self._rows.get(table, [])
            names = [name for name in (*COLUMNS[table], OTHER_ID) if any(name in row.values for row in rows)]
            texts = {name: [as_text(row.values.get(name)) for row in rows] for name in names}
            yield RawBatch(
                rows=pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String), height=len(rows)),
                numbers=row_numbers(row.number for row in rows),
                broken=tuple(self._broken) if table == self._table else (),
                left_out=dict(self._left_out.get(table, {})),
                table=table,
            )


def dict_rows(
    file: DataFile, spec: SourceSpec, table: str, columns: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, Any]] | Record]:
    """The rows of a delimited, Excel, Parquet or JSON file as (number, column -> value).

    Rows that `--where` does not choose come as LeftOut, unreadable ones as BrokenRow; a connector hands both on.
    columns: of a format without a header.
    """
    options = spec.options
    rows = any_rows(file, columns=options.columns or columns or None, sheet=options.sheet or None)
    for batch in rows.batches(10_000):
        yield from batch.broken
        for number, row in zip(batch.numbers, batch.rows.iter_rows(named=True), strict=True):
            reason = options.not_chosen(row)
            yield LeftOut(table, number, reason) if reason else (number, row)
