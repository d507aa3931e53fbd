"""Events become interactions: one weighed row for each pair of user and item."""

from __future__ import annotations

from datetime import datetime

import dataframely as dy
import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys import config
from recsys.tables import EVENT_TYPES, Interactions

HAD_TYPES = ("purchase", "rating", "return")
"""These say that the shopper has, or had, the product, wherever it was bought."""

LOWEST_LIKED_STARS = 2.0


def rating_events(reviews: pl.LazyFrame) -> pl.LazyFrame:
    """Each review as a rating event, with the columns that `histories` reads."""
    return reviews.select(
        "user_id",
        "item_id",
        event_type=pl.lit("rating").cast(pl.Enum(EVENT_TYPES)),
        timestamp="timestamp",
        value="rating",
    )


def event_weights(settings: config.InteractionsSettings) -> dict[str, float]:
    """What one event of each type weighs; a rating without stars weighs as a purchase, a return nothing."""
    plain = {name: getattr(settings, name) for name in EVENT_TYPES if name not in ("rating", "return")}
    return {**plain, "rating": settings.purchase, "return": 0.0}


def liked_share(stars: float) -> float:
    """What of a purchase's weight a rating counts: nothing at 2 stars or less, all at 5."""
    return min(max((stars - LOWEST_LIKED_STARS) / (5.0 - LOWEST_LIKED_STARS), 0.0), 1.0)


def histories(events: pl.LazyFrame, settings: config.InteractionsSettings) -> pl.LazyFrame:
    """What each user did with each item: user_id, item_id, weight >= 0, timestamp, event_type, n_bought; oldest first.

    The weights of a pair's events add up, a rating counting as a purchase from 5 stars down to nothing at 2; a return
    multiplies the sum by `settings.return_factor`. Searches and mere impressions make no row. `timestamp` is that of
    the newest event, `event_type` the one that says most (the last in the order of `EVENT_TYPES`), `n_bought` counts
    purchases, and is at least 1 for what was rated or returned. Ties in time are ordered by item_id, so the result is
    one for equal input.
    """
    kind = pl.col("event_type").cast(pl.String)
    fixed = event_weights(settings)
    stars = ((pl.col("value") - LOWEST_LIKED_STARS) / (5.0 - LOWEST_LIKED_STARS)).clip(0.0, 1.0)
    weight = (
        pl.when(kind == "rating")
        .then(settings.purchase * stars.fill_null(1.0))
        .otherwise(kind.replace_strict(fixed, default=0.0, return_dtype=pl.Float64))
    )
    says_most = pl.col("event_type").cast(pl.Enum(EVENT_TYPES))
    shown_only = kind.is_in(["impression", "search"]) & (weight == 0)
    share_left = pl.when((kind == "return").any()).then(settings.return_factor).otherwise(1.0)
    return (
        events.filter(pl.col("item_id").is_not_null() & ~shown_only)
        .group_by("user_id", "item_id")
        .agg(
            weight=(weight.sum() * share_left).cast(pl.Float32),
            timestamp=pl.col("timestamp").max(),
            event_type=says_most.filter(kind != "search").max().fill_null("search"),
            n_bought=pl.max_horizontal((kind == "purchase").sum(), kind.is_in(HAD_TYPES).any().cast(pl.UInt32)).cast(
                pl.Int32
            ),
        )
        .sort("user_id", "timestamp", "item_id")
    )


def interactions(history: pl.DataFrame) -> dy.DataFrame[Interactions]:
    """The liked part of `histories`: rows of positive weight, in the same order."""
    liked = history.filter(pl.col("weight") > 0).select(Interactions.column_names())
    return Interactions.validate(liked)


def time_decay(timestamps: pl.Series, as_of: datetime, half_life_days: float) -> np.ndarray:
    """0.5 ** (age / half-life) of each timestamp at `as_of`, float32; the future counts as now."""
    age_days = (pl.Series([as_of]) - timestamps).dt.total_seconds().to_numpy() / 86_400.0
    decay: np.ndarray = np.exp2(-np.maximum(age_days, 0.0) / half_life_days).astype(np.float32)
    return decay


def matrix(
    pairs: pl.DataFrame, user_ids: pl.Series, item_ids: pl.Series, values: np.ndarray | None = None
) -> sp.csr_matrix:
    """(n_users, n_items) float32 of `values` (the pairs' weights unless given); pairs outside the ids are left out."""
    rows, columns = positions(pairs["user_id"], user_ids), positions(pairs["item_id"], item_ids)
    data = pairs["weight"].to_numpy() if values is None else values
    known = (rows >= 0) & (columns >= 0)
    shape = (len(user_ids), len(item_ids))
    return sp.csr_matrix((data[known].astype(np.float32), (rows[known], columns[known])), shape=shape)


def positions(ids: pl.Series, universe: pl.Series) -> np.ndarray:
    """Where each id stands in `universe` (distinct ids), int64; -1 for an id that is not in it."""
    if universe.is_empty():
        return np.full(len(ids), -1, dtype=np.int64)
    order = pl.Series(range(len(universe)), dtype=pl.Int64)
    return ids.replace_strict(universe, order, default=-1, return_dtype=pl.Int64).to_numpy()
