"""From events to interactions: one weighted row for each pair of user and item."""

from __future__ import annotations

from datetime import datetime

import dataframely as dy
import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys import config
from recsys.event_weights import makes_pair, pair_columns, weight_of_event
from recsys.tables import EVENT_TYPES, Interactions


def rating_events(reviews: pl.LazyFrame) -> pl.LazyFrame:
    """Each review as a rating event, with the columns that `histories` reads."""
    return reviews.select(
        "user_id",
        "item_id",
        event_type=pl.lit("rating").cast(pl.Enum(EVENT_TYPES)),
        timestamp="timestamp",
        value="rating",
    )


def histories(events: pl.LazyFrame, settings: config.InteractionsSettings) -> pl.LazyFrame:
    """What each user did with each item: user_id, item_id, weight >= 0, timestamp, event_type, n_bought; oldest first.

    weight, event_type and n_bought follow `recsys.event_weights`; searches and impressions make no row unless the
    settings give them a weight. timestamp: of the newest event. Ties in time are ordered by item_id, so that equal
    input gives equal output.
    """
    return (
        events.filter(makes_pair(settings))
        .group_by("user_id", "item_id")
        .agg(timestamp=pl.col("timestamp").max(), **pair_columns(settings))
        .select("user_id", "item_id", "weight", "timestamp", "event_type", "n_bought")
        .sort("user_id", "timestamp", "item_id")
    )


def daily(events: pl.LazyFrame, settings: config.InteractionsSettings) -> pl.LazyFrame:
    """Each user, item and day once, however often: user_id, item_id, weight, timestamp of the newest event.

    weight: of the day's strongest event, times `return_factor` where the user has returned the item on any day. Trends
    are sums of it: they count shoppers, not clicks.
    """
    pair = ("user_id", "item_id")
    returned = pl.col("returned").any().over(pair)
    return (
        events.filter(makes_pair(settings))
        .group_by(*pair, pl.col("timestamp").dt.date().alias("day"))
        .agg(
            weight=weight_of_event(settings).max(),
            timestamp=pl.col("timestamp").max(),
            returned=(pl.col("event_type").cast(pl.String) == "return").any(),
        )
        .with_columns(weight=pl.col("weight") * pl.when(returned).then(settings.return_factor).otherwise(1.0))
        .filter(pl.col("weight") > 0)
        .sort(*pair, "day")
        .select(*pair, "weight", "timestamp")
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
