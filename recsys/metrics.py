"""Ranking metrics over one held-out target a user (the next item); all items are ranked, nothing is sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def target_ranks(scores: np.ndarray, target_rows: np.ndarray) -> np.ndarray:
    """0-based rank of each row's target, int64; ties count against it.

    scores: (n_users, n_items) float, -inf for items that may not be shown; target_rows: (n_users,) item positions.
    A target that scores -inf is ranked last.
    """
    own = np.take_along_axis(scores, target_rows[:, None], axis=1)
    ranks: np.ndarray = (scores >= own).sum(axis=1) - 1
    return ranks


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """1.0 where the target is among the first `k`, else 0.0. With one target, recall@k is the mean of this."""
    return (ranks < k).astype(np.float64)


def ndcg(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 / log2(rank + 2) within the first `k`, else 0.0 (Järvelin & Kekäläinen 2002, one relevant item)."""
    return np.where(ranks < k, 1.0 / np.log2(ranks + 2.0), 0.0)


def reciprocal_rank(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 / (rank + 1) within the first `k`, else 0.0."""
    return np.where(ranks < k, 1.0 / (ranks + 1.0), 0.0)


@dataclass(frozen=True)
class Quality:
    """Means over `n_users` users; `coverage` is the share of the catalogue that stands in any of the lists."""

    n_users: int
    recall: float
    ndcg: float
    mrr: float
    coverage: float


def quality(ranks: np.ndarray, shown_rows: np.ndarray, n_items: int, k: int) -> Quality:
    """Means at `k`. ranks: (n_users,), at least `k` where the target was not shown; shown_rows: rows of all lists.

    Without users every mean is 0.0.
    """
    if len(ranks) == 0:
        return Quality(0, 0.0, 0.0, 0.0, 0.0)
    shown = np.unique(shown_rows[shown_rows >= 0])
    return Quality(
        n_users=len(ranks),
        recall=float(hits(ranks, k).mean()),
        ndcg=float(ndcg(ranks, k).mean()),
        mrr=float(reciprocal_rank(ranks, k).mean()),
        coverage=len(shown) / max(n_items, 1),
    )
