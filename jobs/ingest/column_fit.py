"""Whether the first values of a source's column can be those of one of our columns.

A name alone misleads: `type` may be a category or "simple" and "variable", `user` an id or a person's name.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import polars as pl

from jobs.ingest.parsing import ID_COLUMNS, PRICES, as_scalars, numbers
from recsys.tables import EARLIEST, EVENT_TYPES
from recsys.values.availability import is_negated, parse_flags
from recsys.values.ids import id_faults, id_texts
from recsys.values.prices import parse_prices
from recsys.values.times import parse_times

MIN_READABLE: Final = 0.9
"""The share of the values given that the parser of our column must read."""

MIN_GIVEN: Final = {
    "item_id": 0.5,
    "user_id": 0.5,
    "timestamp": 0.9,
    "event_type": 0.9,
    "rating": 0.9,
    "event_id": 1.0,
    "review_id": 1.0,
}
"""The share of the rows that must have a value; any value will do for other columns. Guests have no user id."""

MAX_SPACED_IDS: Final = 0.2
MAX_ID_CHARS: Final = 128
MAX_RATING: Final = 100
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)

PRODUCT_KINDS: Final = (
    *("simple", "variable", "variation", "grouped", "external", "configurable", "bundle", "virtual", "downloadable"),
    *("product", "sku", "rule", "variant", "parent", "child"),
)
"""What a column `type` holds where it is about how a shop's system stores a product."""

_TEXT: Final = pl.col("text")


def fits(column: str, values: pl.Series, event_words: Collection[str] = (), *, any_share: bool = False) -> bool:
    """Whether `values`, of the first rows, can be those of our `column`; false where all are blank.

    event_words: source words that are mapped to our event types. any_share: however few rows have a value.
    """
    scalars = as_scalars(values)
    texts = id_texts(scalars)
    given = scalars.filter(texts.is_not_null())
    texts = texts.drop_nulls()
    min_given = 0.0 if any_share else MIN_GIVEN.get(column, 0.0)
    if texts.is_empty() or len(texts) < min_given * len(values):
        return False
    if column in ID_COLUMNS:
        return _are_ids(texts) and (column not in ("event_id", "review_id") or texts.n_unique() == len(texts))
    if column == "event_type":
        return bool(texts.str.to_lowercase().is_in([*EVENT_TYPES, *event_words]).all())
    if column in ("timestamp", "updated_at"):
        return _are_times(given)
    if column == "available":
        return _share(parse_flags(given, negated=is_negated(values.name)).is_not_null()) >= MIN_READABLE
    if column in PRICES:
        return _share(parse_prices(given).is_not_null()) >= MIN_READABLE
    if column in ("rating", "position"):
        return _share(numbers(given).is_between(0, MAX_RATING if column == "rating" else float("inf"))) >= MIN_READABLE
    return _are_texts(texts, column)


def _share(flags: pl.Series) -> float:
    return float(flags.fill_null(value=False).sum()) / len(flags)


def _are_ids(texts: pl.Series) -> bool:
    n_spaced = int(texts.str.contains(r"\s").sum())
    is_short = texts.str.len_chars() <= MAX_ID_CHARS
    readable = _share(id_faults(texts).is_null() & is_short) >= MIN_READABLE
    return readable and n_spaced <= MAX_SPACED_IDS * len(texts)


def _are_times(values: pl.Series) -> bool:
    """Times of online shops, whatever the order of day and month; a price or a count would be in 1970."""
    times = [parse_times(values, "dmy"), parse_times(values, "mdy")]
    return max(_share(read.is_between(EARLIEST, LATEST)) for read in times) >= MIN_READABLE


def _are_texts(texts: pl.Series, column: str) -> bool:
    """Words, not numbers; a category is no address of a page and no kind of record."""
    if column == "category":
        lower = texts.str.to_lowercase()
        no_category = lower.is_in(list(PRODUCT_KINDS)) | lower.str.contains("://", literal=True)
        texts = texts.filter(~no_category)
        if texts.is_empty():
            return False
    elif texts.str.contains(r"^[\[{]\s*[\[{\"]").all():
        return False
    return _share(texts.str.contains(r"\p{L}")) >= 0.5
