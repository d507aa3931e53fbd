"""Raw batches become checked rows of our tables: values mapped, parsed, checked; persons hidden; aliases resolved.

The same for an ingest and for its preview.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from features.workspace.erased_users import ErasedUsers
from features.workspace.user_ids import UserIds
from jobs.ingest.column_mapping import Naming
from jobs.ingest.parsing import cast_rows
from jobs.ingest.persons import mask_broken, mask_texts
from jobs.ingest.quarantine import as_given
from jobs.ingest.readers.raw import RawBatch
from jobs.ingest.report import TableCount
from jobs.ingest.sources.records import OTHER_ID
from jobs.ingest.sources.spec import SourceOptions
from jobs.ingest.validation import check_rows, names_erased, of_erased, of_erased_addresses
from jobs.lake.aliases import AliasMap
from recsys.values.guests import with_guests
from recsys.values.prices import currencies
from recsys.values.refunds import with_refunds

LEAVES_OUT: Final = ""
"""The value to which `--value` maps what is not to be taken."""

MAX_STARS: Final = 5.0


@dataclass(frozen=True)
class CheckedBatch:
    """Rows of `table` that satisfy every rule, and of the others: their rows in the file, broken rules, and masked
    content."""

    table: str
    good: pl.DataFrame
    bad_numbers: list[int]
    bad_rules: list[str]
    bad_rows: list[str]


@dataclass(frozen=True)
class RowReader:
    """now, latest: times between these are counted, later ones are bad. user_ids: None where e-mail addresses stay user
    ids as they are."""

    options: SourceOptions
    now: datetime
    latest: datetime
    erased: ErasedUsers
    user_ids: UserIds | None
    aliases: AliasMap

    def read(self, table: str, batch: RawBatch, naming: Naming, count: TableCount) -> CheckedBatch:
        """The rows of one batch; what is left out, bad or of erased shoppers is added to `count`."""
        count.n_read += batch.rows.height + len(batch.broken) + sum(batch.left_out.values())
        count.left_out.update(batch.left_out)
        given, numbers = self._chosen(batch.rows, batch.numbers, count)
        columns = {ours: source for ours, source in naming.columns.items() if source in given.columns}
        given, numbers = self._mapped(table, given, numbers, columns, count)
        was_erased = pl.repeat(value=False, n=given.height, dtype=pl.Boolean, eager=True)
        if self.user_ids is not None and (column := columns.get("user_id")):  # before ids of events are derived
            plain = given[column].cast(pl.String)
            was_erased = of_erased_addresses(plain, self.erased)
            given = given.with_columns(self.user_ids.pseudonyms(plain))
        rows = cast_rows(table, given, columns, naming.constants, naming.date_order, self.options.timezone)
        rows = self._scaled(table, rows, count)
        if table == "catalog" and "price" in columns:
            rows = _with_currency(rows, given[columns["price"]], count)
        if table == "events":
            rows, n_guests = with_guests(rows)
            count.n_guests += n_guests
        is_erased = of_erased(rows, self.erased) | was_erased
        if is_erased.any():
            rows, given, numbers = rows.filter(~is_erased), given.filter(~is_erased), numbers.filter(~is_erased)
        broken = [row for row in batch.broken if not names_erased(row.text, self.erased)]
        count.n_erased += int(is_erased.sum()) + len(batch.broken) - len(broken)
        rows = self._for_lake(table, rows, given)
        checked = check_rows(table, rows, self.latest)
        if "timestamp" in rows.columns:
            count.n_future += int((checked.good["timestamp"] > self.now).sum())
        bad = list(checked.bad_rows)
        rules = [*checked.bad_rules, *(row.rule for row in broken)]
        data = [*as_given(given[bad]), *map(mask_broken, broken)]
        count.n_bad += len(rules)
        count.reasons.update(rule for broken_rules in rules for rule in broken_rules.split(", "))
        bad_numbers = [*numbers.gather(bad).to_list(), *(row.number for row in broken)]
        return CheckedBatch(table, checked.good, bad_numbers, rules, data)

    def _chosen(self, rows: pl.DataFrame, numbers: pl.Series, count: TableCount) -> tuple[pl.DataFrame, pl.Series]:
        """The rows that every `--where` chooses."""
        for column, value in self.options.where:
            if column not in rows.columns:
                continue
            text = pl.col(column).cast(pl.String).str.strip_chars().str.to_lowercase()
            chosen = rows.select(text.eq(value.lower()).fill_null(value=False)).to_series()
            count.left_out[f"{column} is not {value}"] += int((~chosen).sum())
            rows, numbers = rows.filter(chosen), numbers.filter(chosen)
        return rows, numbers

    def _mapped(
        self, table: str, rows: pl.DataFrame, numbers: pl.Series, columns: Mapping[str, str], count: TableCount
    ) -> tuple[pl.DataFrame, pl.Series]:
        """The rows with the values that `--value` maps; without those that it maps to nothing."""
        for target, values in self.options.values.items():
            target_table, _, ours = target.partition(".")
            if target_table != table or ours not in columns:
                continue
            column = columns[ours]
            text = pl.col(column).cast(pl.String)
            rows = rows.with_columns(
                text.str.strip_chars().str.to_lowercase().replace_strict(values, default=text).alias(column)
            )
            nothing = (rows[column] == LEAVES_OUT).fill_null(value=False)
            if nothing.any():
                count.left_out[f"{column} is not mapped to a value"] += int(nothing.sum())
                rows, numbers = rows.filter(~nothing), numbers.filter(~nothing)
        return rows, numbers

    def _scaled(self, table: str, rows: pl.DataFrame, count: TableCount) -> pl.DataFrame:
        """Ratings on the scale of 1 to 5 stars."""
        column = {"reviews": "rating", "events": "value"}.get(table)
        if column is None:
            return rows
        rating = pl.col(column)
        is_rating = pl.col("event_type") == "rating" if table == "events" else pl.lit(value=True)
        if self.options.rating_scale:
            low, high = self.options.rating_scale
            scaled = 1 + (rating - low) * ((MAX_STARS - 1) / (high - low))
            rows = rows.with_columns(pl.when(is_rating).then(scaled).otherwise(rating).alias(column))
        ratings = rows.filter(is_rating)[column].drop_nulls()
        count.n_ratings += len(ratings)
        count.n_high_ratings += int((ratings > MAX_STARS).sum())
        return rows

    def _for_lake(self, table: str, rows: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
        """Without addresses of persons, and with the ids of the catalogue."""
        if table not in _TEXTS:
            return rows
        item_ids = self.aliases.resolve(rows["item_id"])
        if OTHER_ID in given.columns and len(self.aliases):
            others = given[OTHER_ID]
            known = self.aliases.resolve(others)
            item_ids = pl.select(pl.when(known != others).then(known).otherwise(item_ids)).to_series()
        if table == "events":
            rows = with_refunds(rows)
        masked = [mask_texts(rows[name]) for name in _TEXTS[table]]
        return rows.with_columns(item_ids.alias("item_id"), *masked)


def _with_currency(rows: pl.DataFrame, prices: pl.Series, count: TableCount) -> pl.DataFrame:
    """The products with the currency that their price names, as an attribute."""
    if prices.dtype != pl.String:
        return rows
    codes = currencies(prices)
    named = codes.drop_nulls()
    if named.is_empty():
        return rows
    count.currencies.update(dict(named.value_counts().iter_rows()))
    known = pl.col("attributes")
    currency = '"currency": "' + pl.lit(codes) + '"'
    added = pl.when(known.is_null()).then("{" + currency + "}").otherwise("{" + currency + ", " + known.str.slice(1))
    has_one = known.str.contains('"currency":', literal=True).fill_null(value=False)
    return rows.with_columns(
        pl.when(pl.lit(codes).is_null() | has_one).then(known).otherwise(added).alias("attributes")
    )


_TEXTS: Final = {"events": ("text",), "reviews": ("title", "text")}
