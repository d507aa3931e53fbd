"""Which rows are kept for measuring: decided by a hash, so that they stay the same when the shop's data grow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from features.text.cleaning import text_hash


def place(keys: Iterable[str]) -> np.ndarray:
    """(n,) float64 in [0, 1): where each key falls; equal keys fall on one place, and all spread evenly."""
    return np.array([int(text_hash(key)[:12], 16) / 16**12 for key in keys], dtype=np.float64)


def held_out_rows(places: np.ndarray, share: float, most: int) -> np.ndarray:
    """Ascending rows whose place is below `share`; of more than `most` those of the lowest places: a random part.

    The others with a place below `share` are neither to be trained nor to be measured on.
    """
    rows = np.flatnonzero(places < share)
    return np.sort(rows[np.argsort(places[rows], kind="stable")[:most]])


def held_out_pairs(pairs: pl.DataFrame, share: float, most: int) -> pl.DataFrame:
    """Of `pairs.Pairs` the rows that `tune_contrastive` holds out, less those that it trains on the other way round.

    A pair of two items may stand in both directions, and only one of its texts be held out.
    """
    places = place(pairs["anchor"])
    trained = pairs.filter(places >= share).select(anchor="positive", positive="anchor").unique()
    return pairs[held_out_rows(places, share, most)].join(
        trained, on=["anchor", "positive"], how="anti", maintain_order="left"
    )
