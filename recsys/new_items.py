"""New items get places of their own: in one common ranking they drown, and what is never shown never gets buyers.

Which new item takes a place is decided by the shopper's evidence (its text, placed in the item space) and by how it did
where it was shown before: a Gamma-Poisson posterior of clicks over expected clicks, read optimistically (UCB), so that
an untried item goes before one that was shown in vain (Chapelle & Li 2011, "An empirical evaluation of Thompson
sampling", compare both; this rule draws nothing at random).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from recsys import config
from recsys.interactions import positions

SUCCESS_TYPES: Final = ("view", "click", "cart", "purchase")
ATTRIBUTED_WITHIN: Final = timedelta(days=1)
LAST_POSITION: Final = 20
"""Places from here on are clicked alike."""


def learn_trials(impressions: pl.DataFrame, events: pl.DataFrame, item_ids: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """(n_items,) float32 twice: the clicks that an average item would have had in an item's places, and those it had.

    impressions: user_id, item_id, timestamp, position (null where unknown); events: user_id, item_id, event_type,
    timestamp. An impression succeeds where its shopper views, clicks, carts or buys the item within a day.
    """
    expected, successes = np.zeros(len(item_ids), np.float32), np.zeros(len(item_ids), np.float32)
    if impressions.is_empty():
        return expected, successes
    done = events.filter(pl.col("event_type").cast(pl.String).is_in(SUCCESS_TYPES))
    answered = (
        impressions.select("user_id", "item_id", "timestamp", position=pl.col("position").clip(0, LAST_POSITION))
        .sort("timestamp")
        .join_asof(
            done.select("user_id", "item_id", "timestamp", success=pl.lit(1.0)).sort("timestamp"),
            on="timestamp",
            by=["user_id", "item_id"],
            strategy="forward",
            tolerance=ATTRIBUTED_WITHIN,
            check_sortedness=False,  # sorted as a whole, and so within each pair
        )
        .with_columns(pl.col("success").fill_null(0.0))
        .with_columns(usual=pl.col("success").mean().over("position"))
        .group_by("item_id")
        .agg(pl.col("usual").sum(), pl.col("success").sum())
    )
    rows = positions(answered["item_id"], item_ids)
    known = rows >= 0
    expected[rows[known]] = answered["usual"].to_numpy()[known]
    successes[rows[known]] = answered["success"].to_numpy()[known]
    return expected, successes


def promise(expected: np.ndarray, successes: np.ndarray, settings: config.NewItemsSettings) -> np.ndarray:
    """(n_items,) float32 to be added to an item's score: the log of how many times the usual clicks it may well get.

    The posterior mean plus `exploration` deviations; the same for all items that were never shown.
    """
    prior = settings.prior_successes
    mean = (successes + prior) / (expected + prior)
    deviation = np.sqrt(successes + prior) / (expected + prior)
    return np.log(mean + settings.exploration * deviation).astype(np.float32)


def is_slot(place: int, share: float) -> bool:
    """Whether the 0-based place of a list is reserved for a new item."""
    return n_slots(place + 1, share) > n_slots(place, share)


def n_slots(count: int, share: float) -> int:
    """How many of a list's first `count` places are reserved for new items: floor(count * share)."""
    return int(count * share + 1e-9)


def with_new_items(ranked: np.ndarray, new_ranked: np.ndarray, count: int, share: float) -> Iterator[tuple[int, bool]]:
    """(row, whether it has a place reserved for new items), best first, at most `count` and none twice.

    ranked: rows of all items that may be shown, best first, `count` of them where there are so many; new_ranked: rows
    of the new ones. Where the new ones are spent the common ranking goes on.
    """
    shown: set[int] = set()
    common, new = iter(ranked.tolist()), iter(new_ranked.tolist())
    for place in range(count):
        is_reserved = is_slot(place, share)
        row = next((row for row in new if row not in shown), None) if is_reserved else None
        is_reserved = row is not None
        if row is None:
            row = next((row for row in common if row not in shown), None)
        if row is None:
            return
        shown.add(row)
        yield row, is_reserved
