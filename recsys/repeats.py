"""Whether, and when, what a shopper has bought may come back: coffee does, a kettle does not.

Learned from the shop's own purchases. "Buy it again" lists rest on the same two facts: how often buyers of an item
return to it, and how long they take (Bhagat et al. 2018, "Buy it again: modeling repeat purchase recommendations").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from recsys import config
from recsys.interactions import positions

SHRINK_BUYERS: Final = 20.0
"""An item's own rate counts as much as the shop's once so many shoppers have bought it."""

SOONEST_QUANTILE: Final = 0.05
"""So many of the shop's repeats come sooner than `after_days`."""


@dataclass(frozen=True)
class Repeats:
    """allowed: whether bought items may come back at all, `after_days` after the last purchase at the soonest.

    share: of the shop's purchases, those that repeat an earlier one of the same shopper and item; half_life_days: age
    of the last purchase at which it calls half as much for the next.
    """

    allowed: bool = False
    after_days: float = 0.0
    share: float = 0.0
    half_life_days: float = 90.0

    def may_return(self, n_bought: np.ndarray, age_days: np.ndarray) -> np.ndarray:
        """(n,) bool: what was bought, and long enough ago. n_bought, age_days: (n,)."""
        return self.allowed & (n_bought > 0) & (age_days >= self.after_days)

    def strength(self, n_bought: np.ndarray, age_days: np.ndarray) -> np.ndarray:
        """(n,) float32: how much an item calls for being bought again. More purchases call more, old ones less."""
        fading = np.exp2(-np.maximum(age_days, 0.0) / self.half_life_days)
        return (np.log1p(n_bought) * fading).astype(np.float32)

    def save(self, path: Path) -> None:
        path.write_bytes(_STORED.dump_json(self, indent=2))

    @classmethod
    def load(cls, path: Path) -> Repeats:
        """Raises ValueError for what is no such file."""
        return _STORED.validate_json(path.read_bytes())


_STORED: Final = TypeAdapter(Repeats)


def learn_repeats(
    events: pl.DataFrame, item_ids: pl.Series, settings: config.RepeatsSettings
) -> tuple[Repeats, np.ndarray]:
    """The shop's rule, and (n_items,) float32: the share of an item's buyers that bought it again, shrunk to the
    shop's.

    events: user_id, item_id, event_type, timestamp. Purchases of one pair on one day count as one. Without purchases
    nothing may come back, unless the settings say so.
    """
    bought = _purchase_days(events)
    gaps = bought["gap_days"].drop_nulls()
    share = len(gaps) / max(len(bought), 1)
    learned_days = float(gaps.quantile(SOONEST_QUANTILE, "lower") or 0.0) if len(gaps) else 0.0
    allowed = settings.mode == "always" or (settings.mode == "auto" and share >= settings.min_share)
    after_days = learned_days if settings.after_days == "auto" else settings.after_days
    pairs = bought.group_by("user_id", "item_id").agg(again=pl.col("gap_days").is_not_null().any())
    counts = pairs.group_by("item_id").agg(n_buyers=pl.len(), n_again=pl.col("again").sum())
    rows = positions(counts["item_id"], item_ids)
    n_buyers, n_again = np.zeros(len(item_ids)), np.zeros(len(item_ids))
    n_buyers[rows[rows >= 0]] = counts["n_buyers"].to_numpy()[rows >= 0]
    n_again[rows[rows >= 0]] = counts["n_again"].to_numpy()[rows >= 0]
    overall = n_again.sum() / max(n_buyers.sum(), 1.0)
    rates = (n_again + SHRINK_BUYERS * overall) / (n_buyers + SHRINK_BUYERS)
    return Repeats(allowed, after_days, share, settings.half_life_days), rates.astype(np.float32)


def _purchase_days(events: pl.DataFrame) -> pl.DataFrame:
    """user_id, item_id, day, gap_days: days since the pair's purchase before, null for the first."""
    bought = events.filter(pl.col("event_type").cast(pl.String) == "purchase")
    return (
        bought.select("user_id", "item_id", day=pl.col("timestamp").dt.date())
        .unique()
        .sort("user_id", "item_id", "day")
        .with_columns(gap_days=pl.col("day").diff().over("user_id", "item_id").dt.total_days())
    )
