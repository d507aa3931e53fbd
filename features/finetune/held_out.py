"""Which rows are held out for evaluation: chosen by a hash, so that the choice is stable as the shop's data grow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from features.text.cleaning import text_hash


def place(keys: Iterable[str]) -> np.ndarray:
    """(n,) float64 in [0, 1): a hash of each key; equal keys have equal values, and the values are uniform."""
    return np.array([int(text_hash(key)[:12], 16) / 16**12 for key in keys], dtype=np.float64)


def held_out_rows(places: np.ndarray, share: float, most: int) -> np.ndarray:
    """Ascending rows whose place is below `share`; if there are more than `most`, those with the lowest places.

    The remaining rows with a place below `share` are used neither for training nor for evaluation.
    """
    rows = np.flatnonzero(places < share)
    return np.sort(rows[np.argsort(places[rows], kind="stable")[:most]])


def held_out_pairs(pairs: pl.DataFrame, share: float, most: int) -> pl.DataFrame:
    """The rows of `pairs.Pairs` that `tune_contrastive` holds out, without those that it trains on in reverse.

    A pair of two items may occur in both directions while only one of its texts is held out.
    """
    places = place(pairs["anchor"])
    trained = pairs.filter(places >= share).select(anchor="positive", positive="anchor").unique()
    return pairs[held_out_rows(places, share, most)].join(
        trained, on=["anchor", "positive"], how="anti", maintain_order="left"
    )
