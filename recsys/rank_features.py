"""What the ranker knows of an item alone: how new it is, how it sells lately and over the years, price and stars."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from recsys.interactions import positions, time_decay

HALF_LIVES_DAYS: Final = (3.0, 14.0, 60.0, 365.0)

ITEM_FEATURES: Final = (
    "shoppers",
    "first_days_ago",
    "last_days_ago",
    *(f"sold_{int(days)}d" for days in HALF_LIVES_DAYS),
    "price",
    "stars",
)
"""All but stars are logarithms. NaN where nothing is known: no event, no price, no rating."""

SMALLEST_SHARE: Final = 1e-3


def item_features(events: pl.DataFrame, items: pl.DataFrame, as_of: datetime) -> np.ndarray:
    """(n_items, len(ITEM_FEATURES)) float32, in the order of `items`.

    events: user_id, item_id, event_type, timestamp, value, all before `as_of`; items: item_id, and price where known.
    """
    item_ids = items["item_id"]
    pairs = events.group_by("user_id", "item_id").agg(
        first=pl.col("timestamp").min(),
        last=pl.col("timestamp").max(),
        stars=pl.col("value").filter(pl.col("event_type").cast(pl.String) == "rating").mean(),
    )
    rows = positions(pairs["item_id"], item_ids)
    known = rows >= 0
    pairs, rows, n_items = pairs.filter(pl.Series(known)), rows[known], len(item_ids)
    shoppers = np.bincount(rows, minlength=n_items)
    first, last = (_days_ago(pairs[name], as_of) for name in ("first", "last"))
    oldest, newest = np.full(n_items, -np.inf), np.full(n_items, np.inf)
    np.maximum.at(oldest, rows, first)
    np.minimum.at(newest, rows, last)
    sold = [
        np.bincount(rows, weights=time_decay(pairs["last"], as_of, days), minlength=n_items) for days in HALF_LIVES_DAYS
    ]
    stars = pairs["stars"].fill_null(np.nan).to_numpy()
    rated = ~np.isnan(stars)
    n_rated = np.bincount(rows[rated], minlength=n_items)
    n_stars = np.bincount(rows[rated], weights=stars[rated], minlength=n_items)
    price = items["price"].fill_null(np.nan).to_numpy() if "price" in items.columns else np.full(n_items, np.nan)
    columns = [
        np.log1p(shoppers),
        _logarithm(oldest),
        _logarithm(newest),
        *(np.log(count + SMALLEST_SHARE) for count in sold),
        _logarithm(price),
        np.divide(n_stars, n_rated, out=np.full(n_items, np.nan), where=n_rated > 0),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _days_ago(timestamps: pl.Series, as_of: datetime) -> np.ndarray:
    days: np.ndarray = (pl.Series([as_of]) - timestamps).dt.total_seconds().to_numpy() / 86_400.0
    return days


def _logarithm(values: np.ndarray) -> np.ndarray:
    """log(1 + value); NaN for what is not finite or below 0."""
    is_defined = np.isfinite(values) & (values >= 0)
    return np.where(is_defined, np.log1p(np.where(is_defined, values, 0.0)), np.nan)
