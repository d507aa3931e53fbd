"""What to ingest: the source, its files, and how its columns are named."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from jobs.lake.lake import TABLES
from recsys.errors import DataError


@dataclass(frozen=True)
class SourceSpec:
    """One ingest, as it is written down and can be run again.

    paths: table name (or "folder", for a source that is a folder) -> absolute paths and globs.
    columns: "table.column" -> the source's name of that column. constants: "table.column" -> a fixed value.
    """

    source: str
    paths: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)


def assignments(option: str, given: Sequence[str]) -> dict[str, str]:
    """`["events.item_id=asin"]` -> `{"events.item_id": "asin"}`, for `--map` and `--set`.

    Raises DataError for a wrong form, an unknown table or column (naming the nearest), or one named twice.
    """
    result: dict[str, str] = {}
    for text in given:
        target, equals, value = text.partition("=")
        table, dot, column = target.strip().partition(".")
        if not (equals and dot and table and column and value):
            raise DataError(f"{option} {text}: write it as {option} table.column=value")
        if table not in TABLES:
            raise DataError(f"{option} {text}: no table {table!r}; did you mean {_nearest(table, TABLES)}?")
        known = TABLES[table].polars_schema()
        if column not in known:
            nearest = _nearest(column, known)
            raise DataError(f"{option} {text}: {table} has no column {column!r}; did you mean {nearest}?")
        if f"{table}.{column}" in result:
            raise DataError(f"{option} {text}: {table}.{column} is given twice")
        result[f"{table}.{column}"] = value
    return result


def constants(given: Sequence[str]) -> dict[str, str]:
    """`assignments` of `--set`; raises DataError also for a word that a column of fixed words does not know."""
    result = assignments("--set", given)
    for target, value in result.items():
        table, _, column = target.partition(".")
        dtype = TABLES[table].polars_schema()[column]
        if isinstance(dtype, pl.Enum) and value not in dtype.categories:
            raise DataError(f"--set {target}={value}: must be one of {', '.join(dtype.categories)}")
    return result


def _nearest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]
