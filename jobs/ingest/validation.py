"""Checks of parsed rows against the rules of their table: which rows are good, and which rules the others break."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import dataframely as dy
import polars as pl

from features.workspace.erased_users import ErasedUsers
from features.workspace.user_ids import address_of
from jobs.lake.lake import TABLES
from recsys.tables import Aliases, Catalog, Events, Reviews

_BETWEEN_WORDS: Final = re.compile(r"[\s,;|\"'{}\[\]:]+")


def of_erased(rows: pl.DataFrame, erased: ErasedUsers) -> pl.Series:
    """True for each row whose `user_id` was erased; each id is hashed once."""
    if not len(erased) or "user_id" not in rows.columns:
        return pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
    erased_ids = [user_id for user_id in rows["user_id"].drop_nulls().unique() if user_id in erased]
    return rows["user_id"].is_in(erased_ids).fill_null(value=False)


def of_erased_addresses(user_ids: pl.Series, erased: ErasedUsers) -> pl.Series:
    """True for each e-mail address that was erased as such, e.g. before the workspace hashed addresses."""
    if not len(erased):
        return pl.repeat(value=False, n=len(user_ids), dtype=pl.Boolean, eager=True)
    addresses = user_ids.filter(user_ids.str.contains("@", literal=True).fill_null(value=False)).unique()
    erased_ids = [address for address in addresses if address in erased or address_of(address) in erased]
    return user_ids.is_in(erased_ids).fill_null(value=False)


def names_erased(line: str, erased: ErasedUsers) -> bool:
    """Whether an unparsable line contains the id of an erased shopper between its separators."""
    return bool(len(erased)) and any(word in erased for word in _BETWEEN_WORDS.split(line))


class _NumberedEvents(Events):
    batch_row = dy.Int64()


class _NumberedCatalog(Catalog):
    available = dy.Bool(nullable=True)  # filled when the rows of an item are merged (`jobs/lake/fields.py`)
    batch_row = dy.Int64()


class _NumberedAliases(Aliases):
    batch_row = dy.Int64()


class _NumberedReviews(Reviews):
    batch_row = dy.Int64()


_NUMBERED: Final[Mapping[str, type[dy.Schema]]] = {
    "events": _NumberedEvents,
    "catalog": _NumberedCatalog,
    "aliases": _NumberedAliases,
    "reviews": _NumberedReviews,
}

_TIME_COLUMN: Final = {"events": "timestamp", "catalog": "updated_at", "reviews": "timestamp"}


@dataclass(frozen=True)
class Checked:
    """good: rows that satisfy every rule; bad_rows, bad_rules: position in the batch and broken rules ("a|max,
    b|dtype") of each other row."""

    good: pl.DataFrame
    bad_rows: tuple[int, ...]
    bad_rules: tuple[str, ...]


def check_rows(table: str, rows: pl.DataFrame, latest: datetime) -> Checked:
    """Check what `cast_rows` returned. Rules are named as dataframely names them; a value that cannot be parsed breaks
    the rule of `unreadable` (and not also `COLUMN|nullability`), a time after `latest` breaks `COLUMN_in_future`.
    """
    numbered = rows.with_row_index("batch_row").with_columns(pl.col("batch_row").cast(pl.Int64))
    time = _TIME_COLUMN.get(table)
    in_future = pl.when(pl.col(time) > latest).then(pl.lit(f"{time}_in_future")) if time else pl.lit(None, pl.String)
    unreadable = pl.when(pl.col("unreadable") != "").then("unreadable")
    ours = numbered.select(
        "batch_row", pl.concat_str(unreadable, in_future, separator=", ", ignore_nulls=True).alias("parsing_rules")
    )
    ours = ours.filter(pl.col("parsing_rules") != "")
    good_rows, failure = _NUMBERED[table].filter(numbered.drop("unreadable"))
    columns = list(TABLES[table].polars_schema())
    if ours.is_empty() and len(failure) == 0:
        return Checked(good_rows.select(columns), (), ())
    broken = ours.join(_schema_rules(failure), on="batch_row", how="full", coalesce=True).sort("batch_row")
    good = good_rows.join(ours, on="batch_row", how="anti").select(columns)
    rules = [_named(*row) for row in broken.select("parsing_rules", "schema_rules").iter_rows()]
    return Checked(good, tuple(broken["batch_row"].to_list()), tuple(rules))


def _schema_rules(failure: dy.FailureInfo) -> pl.DataFrame:
    """batch_row, schema_rules: the schema's rules that the row breaks."""
    details = failure.details()
    names = list(failure.counts())
    broken_names = [pl.when(pl.col(name) == "invalid").then(pl.lit(name)) for name in names]
    schema_rules = (
        pl.concat_str(broken_names, separator=", ", ignore_nulls=True) if broken_names else pl.lit(None, pl.String)
    )
    return details.select("batch_row", schema_rules.alias("schema_rules"))


def _named(ours: str | None, schema_rules: str | None) -> str:
    rules = [*(ours or "").split(", "), *(schema_rules or "").split(", ")]
    unread = {rule.partition("|")[0] for rule in (ours or "").split(", ") if "|" in rule}
    implied = {f"{column}|nullability" for column in unread}
    if "item_id" in unread:
        implied.add("names_an_item_or_a_text")
    return ", ".join(rule for rule in rules if rule and rule not in implied)
