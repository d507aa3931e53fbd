"""Raw rows on their way from a file to the tables, before any value is parsed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

MAX_STORED_CHARS: Final = 2000
"""Of a row that cannot be read."""


@dataclass(frozen=True)
class BrokenRow:
    """A row that could not even be read: its 1-based number, the rule it broke, and its text. columns: of its file,
    where they are known."""

    number: int
    rule: str
    text: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawBatch:
    """Rows as the source names them, the 1-based number of each in its file, and those that could not be read.

    left_out: reason -> rows that are not for us. table: whose rows they are, where a file gives rows of several tables.
    """

    rows: pl.DataFrame
    numbers: pl.Series
    broken: tuple[BrokenRow, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    table: str | None = None


@dataclass(frozen=True)
class RawFile:
    """One source of rows of one table, mainly. `inputs` are the files that its content depends on, `path` first.

    n_rows: rows to expect, where the format says so. batches: called with a batch size in rows. format: as shown to the
    user; "" for a table whose columns are still to be named. notes: what was counted, once the batches are read.
    """

    table: str
    path: Path
    columns: tuple[str, ...]
    batches: Callable[[int], Iterator[RawBatch]]
    inputs: tuple[Path, ...]
    n_rows: int | None = None
    format: str = ""
    notes: Callable[[], Mapping[str, int]] = dict


@dataclass(frozen=True)
class Rows:
    """The rows of one file: the names of its columns, and a function that reads batches of about so many rows."""

    columns: tuple[str, ...]
    batches: Callable[[int], Iterator[RawBatch]]
    n_rows: int | None = None


def row_numbers(numbers: Iterable[int]) -> pl.Series:
    """The `numbers` of a RawBatch."""
    return pl.Series("row", list(numbers), dtype=pl.Int64)
