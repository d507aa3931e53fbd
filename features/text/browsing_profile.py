"""Browsing profiles: one vector of what a shopper recently searched for and read."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import sparse

from recsys.config import EmbedSettings


def browsing_profiles(
    browsing: pl.DataFrame, vectors: np.ndarray, settings: EmbedSettings
) -> tuple[list[str], np.ndarray]:
    """The normalized weighted mean of each shopper's newest browsing texts; newer texts weigh more.

    browsing: user_id, timestamp, one row per text; with equal times the later row is the newer. vectors: (n_texts, dim)
    float32, in the same order, zeros if a text has no vector. The newest text has weight 1, each older one
    `browsing_decay` times the weight of the next; only the newest `max_browsing_texts` count.
    Returns the user ids, ascending, and (n_users, dim) float32 of norm 1. A shopper whose texts have no vectors, or
    whose vectors cancel out, has no profile.
    """
    dim = vectors.shape[1]
    newest = (
        browsing.select("user_id", "timestamp")
        .with_row_index("row")
        .filter(pl.Series(np.any(vectors != 0, axis=1), dtype=pl.Boolean))
        .sort("user_id", "timestamp", "row")
        .with_columns(age=pl.int_range(pl.len()).reverse().over("user_id"))
        .filter(pl.col("age") < settings.max_browsing_texts)
    )
    if newest.is_empty():
        return [], np.zeros((0, dim), dtype=np.float32)
    user_rows = newest["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
    weights = (settings.browsing_decay ** newest["age"].to_numpy().astype(np.float64)).astype(np.float32)
    places = (user_rows, newest["row"].to_numpy())
    sums = sparse.csr_array((weights, places), shape=(user_rows.max() + 1, len(vectors))) @ vectors
    norms = np.linalg.norm(sums, axis=1)
    has_profile = norms > 1e-6
    user_ids = newest["user_id"].unique().sort().filter(pl.Series(has_profile))
    return user_ids.to_list(), (sums[has_profile] / norms[has_profile, None]).astype(np.float32)
