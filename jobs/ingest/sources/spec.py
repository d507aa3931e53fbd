"""What to ingest: the source, its files, and how its columns and values are to be read."""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import polars as pl

from jobs.lake.lake import TABLES
from recsys.errors import DataError

MAPPABLE: Final = tuple(table for table in TABLES if table != "aliases")
"""Tables whose columns a user can name; aliases come from formats that hold several ids of an item."""


@dataclass(frozen=True)
class SourceOptions:
    """How the files of a source are read; remembered with the source, so that a nightly run reads new ones alike.

    values: "table.column" -> source value, case folded -> our value; an empty one leaves the row out.
    where: (column, value): only rows with this value are taken. rating_scale: (lowest, highest) rating of the source.
    date_order: which comes first in dates such as 3/4/2024. timezone: of times without an offset, "" for UTC.
    columns: names of the columns of files without a header.
    sheet: of an Excel file. keep_user_ids: e-mail addresses stay user ids as they are.
    items: what is one item of the catalogue, a product or each of its variants. full: the files are the whole
    catalogue, products that are not in them become unavailable. catalog_from_items: take products from the items of
    events. store_view: of Magento. user: which id of a shopper counts, the login before the browser's, or one alone.
    first_day: ISO date on which histories without dates begin.
    """

    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    where: tuple[tuple[str, str], ...] = ()
    rating_scale: tuple[float, float] | None = None
    date_order: Literal["dmy", "mdy"] | None = None
    timezone: str = ""
    columns: tuple[str, ...] = ()
    sheet: str = ""
    keep_user_ids: bool = False
    items: Literal["product", "variant"] = "product"
    full: bool = False
    catalog_from_items: bool = False
    store_view: str = ""
    user: Literal["any", "pseudo", "login"] = "any"
    first_day: str = ""

    def mapped(self, target: str, value: str) -> str | None:
        """What `--value` says of a source's value, None where it says nothing. target: "events.event_type", say."""
        return self.values.get(target, {}).get(value.strip().casefold())

    def not_chosen(self, row: Mapping[str, Any]) -> str:
        """Why `--where` leaves a row out; "" where it does not."""
        for column, value in self.where:
            if str(row.get(column, "")).strip().casefold() != value.casefold():
                return f"{column} is not {value}"
        return ""


@dataclass(frozen=True)
class SourceSpec:
    """One ingest, as it is written down and can be run again.

    paths: table name, "files" (for a source that knows its files by their content) or "folder" (for a source that is
    a folder) -> absolute paths, globs and URLs. columns: "table.column" -> the source's name of that column.
    constants: "table.column" -> a fixed value.
    """

    source: str
    paths: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    options: SourceOptions = field(default_factory=SourceOptions)


def assignments(option: str, given: Sequence[str]) -> dict[str, str]:
    """`["events.item_id=asin"]` -> `{"events.item_id": "asin"}`, for `--map` and `--set`.

    Raises DataError for a wrong form, an unknown table or column (naming the nearest), or one named twice.
    """
    result: dict[str, str] = {}
    for text in given:
        target, equals, value = text.partition("=")
        if not (equals and value):
            raise DataError(f"{option} {text}: write it as {option} table.column=value")
        target = _target(option, text, target, "=value")
        if target in result:
            raise DataError(f"{option} {text}: {target} is given twice")
        result[target] = value
    return result


def _target(option: str, text: str, target: str, rest: str) -> str:
    """`table.column`, without spaces. Raises DataError where it is neither or unknown."""
    table, dot, column = target.strip().partition(".")
    if not (dot and table and column):
        raise DataError(f"{option} {text}: write it as {option} table.column{rest}")
    if table not in MAPPABLE:
        raise DataError(f"{option} {text}: no table {table!r}; did you mean {_nearest(table, MAPPABLE)}?")
    known = TABLES[table].polars_schema()
    if column not in known:
        raise DataError(f"{option} {text}: {table} has no column {column!r}; did you mean {_nearest(column, known)}?")
    return f"{table}.{column}"


def constants(given: Sequence[str]) -> dict[str, str]:
    """`assignments` of `--set`; raises DataError also for a word that a column of fixed words does not know."""
    result = assignments("--set", given)
    for target, value in result.items():
        _check_word("--set", f"{target}={value}", target, value)
    return result


def value_maps(given: Sequence[str]) -> dict[str, dict[str, str]]:
    """`["events.event_type:addtocart=cart"]` -> `{"events.event_type": {"addtocart": "cart"}}`, for `--value`.

    An empty value leaves the rows out. Raises DataError for a wrong form, an unknown column, or a word that a column of
    fixed words does not know.
    """
    result: dict[str, dict[str, str]] = {}
    for text in given:
        before, equals, ours = text.rpartition("=")
        target, colon, source_value = before.partition(":")
        if not (equals and colon and source_value):
            raise DataError(f"--value {text}: write it as --value table.column:their_value=our_value")
        target = _target("--value", text, target, ":their_value=our_value")
        if ours:
            _check_word("--value", text, target, ours)
        result.setdefault(target, {})[source_value.strip().casefold()] = ours
    return result


def conditions(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`["STATUS=completed"]` -> `(("STATUS", "completed"),)`, for `--where`. Raises DataError for a wrong form."""
    result = []
    for text in given:
        column, equals, value = text.partition("=")
        if not (equals and column.strip()):
            raise DataError(f"--where {text}: write it as --where COLUMN=value")
        result.append((column.strip(), value.strip()))
    return tuple(result)


def rating_scale(text: str) -> tuple[float, float]:
    """`"10"` -> (1, 10), `"0-100"` -> (0, 100), for `--rating-scale`. Raises DataError where it is no scale."""
    low, dash, high = text.partition("-")
    try:
        scale = (float(low), float(high)) if dash else (1.0, float(low))
    except ValueError:
        scale = (0.0, 0.0)
    if scale[0] >= scale[1]:
        raise DataError(f"--rating-scale {text}: write the highest rating (10), or both ends (0-100)")
    return scale


def timezone(text: str) -> str:
    """The name, for `--timezone`. Raises DataError where there is no such zone."""
    if text and text not in zoneinfo.available_timezones():
        nearest = _nearest(text, zoneinfo.available_timezones())
        raise DataError(f"--timezone {text}: no time zone; did you mean {nearest}?")
    return text


def _check_word(option: str, text: str, target: str, value: str) -> None:
    table, _, column = target.partition(".")
    dtype = TABLES[table].polars_schema()[column]
    if isinstance(dtype, pl.Enum) and value not in dtype.categories:
        raise DataError(f"{option} {text}: must be one of {', '.join(dtype.categories)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]
