"""Splits by time: what was known before a moment, and what came after it."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from recsys import config

TARGET_TYPES = ("purchase", "cart", "rating")
"""What a recommendation is meant to lead to; a shop that has none of them is judged by views and clicks."""


def target_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """user_id, item_id, timestamp of the events that count as success in this shop, oldest first.

    Purchases, carts and ratings of 4 stars or more; where a shop has none of these, views and clicks.
    """
    kind = pl.col("event_type").cast(pl.String)
    liked = pl.col("value").is_null() | (kind != "rating") | (pl.col("value") >= 4)
    items = events.filter(pl.col("item_id").is_not_null())
    wanted = items.filter(kind.is_in(TARGET_TYPES) & liked)
    if wanted.limit(1).collect().is_empty():
        wanted = items.filter(kind.is_in(["view", "click"]))
    return wanted.select("user_id", "item_id", "timestamp").sort("timestamp", "user_id", "item_id")


def temporal_cut(targets: pl.DataFrame, end: datetime, settings: config.Evaluate) -> datetime:
    """The moment from which on targets are held out: `settings.days` before `end`, or earlier in a quiet shop.

    The window doubles until it holds `min_users` users, but never takes more than `max_share` of the targets; where
    even the first window is above that share, it starts at the moment that leaves exactly the share.
    """
    times = targets.filter(pl.col("timestamp") < end)["timestamp"].sort()
    if times.is_empty():
        return end
    earliest: datetime = times[int(len(times) * (1 - settings.max_share))]
    days = settings.days
    while True:
        cut = end - timedelta(days=days)
        if cut <= earliest:
            return earliest
        held_out = targets.filter(pl.col("timestamp").is_between(cut, end, closed="left"))
        if held_out["user_id"].n_unique() >= settings.min_users:
            return cut
        days *= 2


def new_items(
    targets: pl.DataFrame, history: pl.DataFrame, item_ids: pl.Series, start: datetime, end: datetime
) -> pl.DataFrame:
    """user_id, item_id: the targets in [start, end) that are new to their user and in `item_ids`, each pair once.

    history: user_id, item_id of what the user had dealt with before `start`. Repeats are no discovery and are left
    out, as the service leaves out what was seen. Ordered by user and time.
    """
    window = targets.filter(pl.col("timestamp").is_between(start, end, closed="left"))
    return (
        window.filter(pl.col("item_id").is_in(item_ids.implode()))
        .join(history, on=["user_id", "item_id"], how="anti")
        .sort("user_id", "timestamp", "item_id")
        .unique(["user_id", "item_id"], keep="first", maintain_order=True)
        .select("user_id", "item_id")
    )


def next_items(new: pl.DataFrame) -> pl.DataFrame:
    """The first of each user's `new_items`."""
    return new.unique("user_id", keep="first", maintain_order=True)
