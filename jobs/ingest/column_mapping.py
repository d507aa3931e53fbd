"""Maps the columns of a source to the columns of our tables, with a helpful error where one is missing."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

from jobs.ingest.column_aliases import aliases_of, plain_name
from jobs.ingest.column_fit import fits
from jobs.ingest.persons import mask
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import TABLES
from recsys.errors import DataError
from recsys.tables import EVENT_TYPES
from recsys.values.times import DateOrder

DERIVED: Final = frozenset({"event_id", "review_id", "available"})
"""Required columns that `cast_rows` fills where the source has none."""

MAX_COLUMNS_SHOWN: Final = 12
MAX_WORDS: Final = 30
"""A column with more different values among the first rows is no event type."""

MAX_WORDS_SHOWN: Final = 3
REVIEW_COLUMNS: Final = frozenset(
    ("review", "reviewer", "reviewername", "revieweremail", "reviewtitle", "reviewtext", "reviewbody", "reviewcontent")
)
"""Plain names of columns that no catalogue has."""

MIN_SIMILARITY: Final = 0.7
"""How alike two names must be (`difflib`) for a hint."""

Values = Mapping[str, Mapping[str, str]]
"""`table.column` -> source value, case folded -> our value, as `--value` maps them."""


class TableFile(Protocol):
    """What is asked of a `RawFile`."""

    @property
    def table(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def columns(self) -> tuple[str, ...]: ...


class TableHead(Protocol):
    """What is asked of a `FileHead`: the names of a file's columns and its first rows."""

    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def rows(self) -> tuple[Mapping[str, Any], ...]: ...


@dataclass(frozen=True)
class Naming:
    """Our column -> the source's column, and our column -> a constant.

    guessed: those of `columns` that were taken by another name than ours, for the report. date_order: of dates such as
    3/4/2024 in the file.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, str]
    guessed: Mapping[str, str] = field(default_factory=dict)
    date_order: DateOrder | None = None


def name_columns(
    raw: TableFile, spec: SourceSpec, sample: pl.DataFrame | None = None, values: Values | None = None
) -> Naming:
    """The naming of one file: constants, then `--map`, then columns that have our name, then columns with our name
    written otherwise (`Item ID`), then known other names (`column_aliases.py`) whose values fit.

    sample: the first rows, as the source gives them; without them no other name is taken. values: what `--value` maps.
    No column is taken twice, unless `--map` says so.
    Raises DataError naming the column, the file, its columns and the option to use, where a mapped or required
    column is missing or a column is both mapped and constant.
    """
    rows = pl.DataFrame() if sample is None else sample
    file = _File(raw.table, raw.columns, rows, (values or {}).get(f"{raw.table}.event_type", {}))
    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    for ours in TABLES[raw.table].polars_schema():
        target = f"{raw.table}.{ours}"
        if target in spec.constants and target in spec.columns:
            raise DataError(f"{target} is given by --map and by --set; keep one of them")
        if target in spec.constants:
            constants[ours] = spec.constants[target]
        elif target in spec.columns:
            columns[ours] = spec.columns[target]
            if columns[ours] not in raw.columns:
                raise _missing(raw, columns[ours], target, file.nearest(ours, columns[ours], ()))
        elif ours in raw.columns:
            columns[ours] = ours
    guessed = file.guesses([ours for ours in TABLES[raw.table].polars_schema() if ours not in constants], columns)
    columns |= guessed
    for ours, rule in TABLES[raw.table].schema.columns().items():
        if not rule.nullable and ours not in DERIVED and ours not in constants and ours not in columns:
            raise _missing(raw, ours, f"{raw.table}.{ours}", file.hint(ours, columns.values()), file.other_words(ours))
    if raw.table == "events" and not {*constants, *columns} & {"item_id", "text"}:
        raise _missing(raw, "item_id", "events.item_id", file.hint("item_id", columns.values()))
    return Naming(columns, constants, guessed)


def fitting_table(head: TableHead) -> str | None:
    """The table that a file's columns and first rows fit by name and values; None where it is none, or several."""
    sample = _sample(head)
    resolved = {}
    for table in ("events", "reviews", "catalog"):
        schema = TABLES[table].polars_schema()
        exact = {ours: ours for ours in schema if ours in head.columns}
        resolved[table] = exact | _File(table, head.columns, sample, {}).guesses(schema, exact)
    events, reviews, catalog = resolved["events"], resolved["reviews"], resolved["catalog"]
    are_events = {"user_id", "event_type", "timestamp"} <= {*events} and bool({"item_id", "text"} & {*events})
    are_reviews = {"user_id", "item_id", "rating", "timestamp"} <= {*reviews}
    if are_events or are_reviews:
        return None if are_events and are_reviews else "events" if are_events else "reviews"
    about_reviews = any(plain_name(column) in REVIEW_COLUMNS for column in head.columns)
    if about_reviews or "user_id" in events or "user_id" in reviews:
        return None  # what shoppers did or wrote, but not in one of our tables
    has_properties = bool({"title", "description", "category", "brand", "price"} & {*catalog})
    return "catalog" if "item_id" in catalog and has_properties else None


@dataclass(frozen=True)
class _File:
    """A file of `table`: the names of its columns, its first rows, and the event words that `--value` maps."""

    table: str
    columns: Sequence[str]
    rows: pl.DataFrame
    event_words: Mapping[str, str]

    def guesses(self, ours: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
        """Our column -> the column that is taken for it; known: what is settled, our column -> the source's."""
        taken = {*known.values()}
        guessed: dict[str, str] = {}
        for name in (name for name in ours if name not in known):
            column = next(
                (c for c in self._named(name, taken) if plain_name(c) == plain_name(name) or self._fits(name, c)), None
            )
            if column is not None:
                guessed[name] = column
                taken.add(column)
        return guessed

    def hint(self, ours: str, taken: Collection[str]) -> str | None:
        """A column that may be ours: by a known name, else by a similar one; its values must fit, as far as known."""
        for column in self._named(ours, taken):
            if self.rows.is_empty() or self._fits(ours, column, any_share=True):
                return column
        return self.nearest(ours, ours, taken)

    def nearest(self, ours: str, name: str, taken: Collection[str]) -> str | None:
        """The column whose name is most like `name` and whose values fit our column."""
        names = {plain_name(column): column for column in reversed(self.columns) if column not in taken}
        for alike in difflib.get_close_matches(plain_name(name), names, n=3, cutoff=MIN_SIMILARITY):
            if self.rows.is_empty() or self._fits(ours, names[alike], any_share=True):
                return names[alike]
        return None

    def other_words(self, ours: str) -> str:
        """Where a column has the name of an event type's but unknown words: how to map them; else ""."""
        if ours != "event_type":
            return ""
        for column in (column for column in self._named(ours, ()) if column in self.rows.columns):
            words = (
                self.rows[column]
                .cast(pl.String, strict=False)
                .str.strip_chars()
                .drop_nulls()
                .unique(maintain_order=True)
            )
            known = {"", *EVENT_TYPES, *self.event_words}
            unknown = [word for word in words if word.casefold() not in known]
            if unknown and len(words) <= MAX_WORDS:
                shown = ", ".join(unknown[:MAX_WORDS_SHOWN]) + (", …" if len(unknown) > MAX_WORDS_SHOWN else "")
                option = f"--value 'events.event_type:{unknown[0]}=view'"
                return (
                    f"or take it from {column!r} with --map events.event_type={column} and map {shown} as in {option}"
                )
        return ""

    def _named(self, ours: str, taken: Collection[str]) -> list[str]:
        """The columns that are not taken and have a known name of our column, most telling first."""
        order = {name: rank for rank, name in enumerate(aliases_of(self.table, ours))}
        others = {*TABLES[self.table].polars_schema()} - {ours}
        named = [c for c in self.columns if plain_name(c) in order and c not in taken and c not in others]
        return sorted(named, key=lambda column: order[plain_name(column)])

    def _fits(self, ours: str, column: str, *, any_share: bool = False) -> bool:
        has_values = column in self.rows.columns
        return has_values and fits(ours, self.rows[column], self.event_words, any_share=any_share)


def _sample(head: TableHead) -> pl.DataFrame:
    return pl.DataFrame(
        {column: [_text(row.get(column)) for row in head.rows] for column in head.columns},
        schema=dict.fromkeys(head.columns, pl.String),
    )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else str(value)


def _missing(raw: TableFile, column: str, target: str, hint: str | None, note: str = "") -> DataError:
    shown = ", ".join(raw.columns[:MAX_COLUMNS_SHOWN]) + (", …" if len(raw.columns) > MAX_COLUMNS_SHOWN else "")
    remedy = f"name it with --map {target}={hint or 'COLUMN'}"
    if target == "events.event_type":
        remedy += " or fill it with --set events.event_type=purchase"
    remedy += f", {note}" if note else ""
    return DataError(f"{raw.path}: no column {column!r} for {target}; the file has {mask(shown)}; {remedy}")
