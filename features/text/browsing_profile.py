"""What a shopper has searched for and read lately, as one vector."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import sparse

from recsys.config import EmbedSettings


def browsing_profiles(
    browsing: pl.DataFrame, vectors: np.ndarray, settings: EmbedSettings
) -> tuple[list[str], np.ndarray]:
    """Each shopper's newest browsing texts as one direction: their mean, the newer weighing more.

    browsing: user_id, timestamp, one row a text; of equal times the later row is the newer. vectors: (n_texts, dim)
    float32, row by row its vector, zeros where the text has none. The newest text weighs 1, each older one
    `browsing_decay` times the one after it, and the newest `max_browsing_texts` count.
    Returns the user ids in order and (n_users, dim) float32 of norm 1; a shopper whose texts say nothing, or cancel
    out, has no profile.
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
    says = norms > 1e-6
    user_ids = newest["user_id"].unique().sort().filter(pl.Series(says))
    return user_ids.to_list(), (sums[says] / norms[says, None]).astype(np.float32)
