"""What is bought with what: counted purchases, whoever made them and in whatever order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys import config
from recsys.errors import StoreError
from recsys.interactions import positions
from recsys.release_files import ARRAYS

MAX_BASKET: Final = 200
"""Newest purchases of a shopper that are paired: a reseller's thousands say little and cost their square."""


@dataclass(frozen=True)
class CoPurchases:
    """shoppers: (n_items, n_items) int32 sparse, how many bought both, of each item its strongest partners;
    strength: the same pattern, float32, how much more often than by chance, see `learn_together`."""

    shoppers: sp.csr_matrix
    strength: sp.csr_matrix

    @classmethod
    def none(cls, n_items: int) -> CoPurchases:
        return cls(
            sp.csr_matrix((n_items, n_items), dtype=np.int32), sp.csr_matrix((n_items, n_items), dtype=np.float32)
        )

    def of_more_items(self, n_items: int) -> CoPurchases:
        """With items behind its own that were never bought."""
        wider = []
        for matrix in (self.shoppers, self.strength):
            n_added = n_items - matrix.shape[0]
            indptr = np.concatenate([matrix.indptr, np.full(n_added, matrix.indptr[-1], dtype=matrix.indptr.dtype)])
            wider.append(sp.csr_matrix((matrix.data, matrix.indices, indptr), shape=(n_items, n_items)))
        return CoPurchases(*wider)

    def save(self, folder: Path) -> None:
        """Uncompressed arrays, so that replicas share their pages."""
        arrays = (self.shoppers.data, self.strength.data, self.shoppers.indices, self.shoppers.indptr)
        for name, array in zip(ARRAYS, arrays, strict=True):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, n_items: int) -> CoPurchases:
        """Raises StoreError where the files are missing or damaged."""
        try:
            shoppers, strength, indices, indptr = (
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray) for name in ARRAYS
            )
            shape = (n_items, n_items)
            return cls(
                sp.csr_matrix((shoppers, indices, indptr), shape), sp.csr_matrix((strength, indices, indptr), shape)
            )
        except (OSError, EOFError, ValueError) as error:
            raise StoreError(f"{folder}: together cannot be read ({error}); run `recsys nightly` again") from None


def learn_together(events: pl.DataFrame, item_ids: pl.Series, settings: config.ComplementsSettings) -> CoPurchases:
    """Of each item its `per_item` strongest partners that at least `min_shoppers` bought, too.

    events: user_id, item_id, event_type, timestamp. The strength of n shoppers who bought both i and j is
    n / sqrt(n_i n_j), the cosine of the two columns of purchases, less what one chance meeting is worth: with n - 1 in
    the place of n a pair that met once says nothing.
    """
    n_items = len(item_ids)
    bought = (
        events.filter(pl.col("event_type").cast(pl.String) == "purchase")
        .group_by("user_id", "item_id")
        .agg(pl.col("timestamp").max())
        .sort("user_id", "timestamp", "item_id", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("user_id") < MAX_BASKET)
    )
    columns = positions(bought["item_id"], item_ids)
    users = bought["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
    known = columns >= 0
    if not known.any() or not settings.per_item:
        return CoPurchases.none(n_items)
    ones = np.ones(int(known.sum()), dtype=np.int32)
    baskets = sp.csr_matrix((ones, (users[known], columns[known])), shape=(int(users.max()) + 1, n_items))
    both = (baskets.T @ baskets).tocsr()
    both.setdiag(0)
    both.data[both.data < settings.min_shoppers] = 0
    both.eliminate_zeros()
    buyers = np.maximum(np.asarray(baskets.sum(axis=0), dtype=np.float32).ravel(), 1.0)
    rows = np.repeat(np.arange(n_items), np.diff(both.indptr))
    strength = (both.data - 1.0) / np.sqrt(buyers[rows] * buyers[both.indices])
    order = np.lexsort((both.indices, -strength, rows))
    place = np.arange(len(order)) - np.repeat(both.indptr[:-1], np.diff(both.indptr))
    strongest = np.sort(order[place < settings.per_item])
    where, shape = (rows[strongest], both.indices[strongest]), (n_items, n_items)
    return CoPurchases(
        sp.csr_matrix((both.data[strongest], where), shape),
        sp.csr_matrix((strength[strongest].astype(np.float32), where), shape),
    )
