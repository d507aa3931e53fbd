"""Ranking metrics; all items are ranked, nothing is sampled.

Accuracy is computed from the 0-based ranks of the targets: `ranks` is (n_users,) where each user has one target, or
(n_users, n) with -1 where a user has fewer. Every accuracy metric returns one value a user, (n_users,) float64, 0.0 for
a user without any target in the first k. What a list is like (coverage, novelty, diversity, popularity bias) is
computed from `shown_rows`, (n_users, k) item positions, best first, with -1 where a list is shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.whitening import unit_rows

RESAMPLES: Final = 1000


def target_ranks(scores: np.ndarray, target_rows: np.ndarray) -> np.ndarray:
    """0-based ranks of each row's targets, int64, in the shape of `target_rows`; ties count against the targets.

    scores: (n_users, n_items) float, -inf for items that may not be shown; target_rows: item positions, (n_users,) or
    (n_users, n) with -1 for "no such target", which gets rank -1. Several targets of one user stand behind every other
    item of their score, and among themselves in the order of their scores. One that scores -inf is ranked last.
    """
    columns = _columns(target_rows)
    target_scores = np.where(columns >= 0, np.take_along_axis(scores, np.maximum(columns, 0), axis=1), np.inf)
    ranks = np.zeros(columns.shape, dtype=np.int64)
    order = np.argsort(-target_scores, axis=1, kind="stable")
    n_missing = (columns < 0).sum(axis=1)
    place = np.argsort(order, axis=1) - n_missing[:, None]  # among the user's targets
    for column in range(columns.shape[1]):
        mine = target_scores[:, [column]]
        others = (scores >= mine).sum(axis=1) - (target_scores >= mine).sum(axis=1) + n_missing
        ranks[:, column] = others + place[:, column]
    ranks[columns < 0] = -1
    return ranks.reshape(target_rows.shape)


def shown_ranks(shown_rows: np.ndarray, target_rows: np.ndarray) -> np.ndarray:
    """(n,) 0-based place of each row's target, (n,), in its list, the length of the lists where it is not there; as is
    a target of -1, which is no item."""
    is_target = (shown_rows == target_rows[:, None]) & (target_rows[:, None] >= 0)
    ranks: np.ndarray = np.where(is_target.any(axis=1), is_target.argmax(axis=1), shown_rows.shape[1])
    return ranks


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """Hit rate: 1.0 where any target is among the first `k`, else 0.0."""
    return (_within(ranks, k).sum(axis=1) > 0).astype(np.float64)


def recall(ranks: np.ndarray, k: int) -> np.ndarray:
    """The share of the user's targets that is among the first `k`."""
    return _within(ranks, k).sum(axis=1) / _n_targets(ranks)


def ndcg(ranks: np.ndarray, k: int) -> np.ndarray:
    """Sum of 1 / log2(rank + 2) over the targets in the first `k`, over that of the best possible list of `k`.

    (Järvelin & Kekäläinen 2002, with binary relevance.)
    """
    gained = np.where(_within(ranks, k), 1.0 / np.log2(np.maximum(_columns(ranks), 0) + 2.0), 0.0).sum(axis=1)
    ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))
    best: np.ndarray = ideal[np.minimum(_n_targets(ranks), k) - 1]
    return gained / best


def reciprocal_rank(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 / (rank + 1) of the first target within the first `k`, else 0.0."""
    return np.where(_within(ranks, k), 1.0 / (np.maximum(_columns(ranks), 0) + 1.0), 0.0).max(axis=1, initial=0.0)


def average_precision(ranks: np.ndarray, k: int) -> np.ndarray:
    """Precision at each target in the first `k`, summed, over the number of targets; its mean is MAP@k."""
    ordered = np.sort(np.where(_within(ranks, k), _columns(ranks), k), axis=1)
    precision = (np.arange(ordered.shape[1]) + 1.0) / (ordered + 1.0)
    return np.where(ordered < k, precision, 0.0).sum(axis=1) / _n_targets(ranks)


def _columns(ranks: np.ndarray) -> np.ndarray:
    return ranks.reshape(len(ranks), -1) if ranks.size else np.zeros((len(ranks), 1), dtype=np.int64)


def _within(ranks: np.ndarray, k: int) -> np.ndarray:
    columns = _columns(ranks)
    return (columns >= 0) & (columns < k)


def _n_targets(ranks: np.ndarray) -> np.ndarray:
    return np.maximum((_columns(ranks) >= 0).sum(axis=1), 1)


def coverage(shown_rows: np.ndarray, n_items: int) -> float:
    """The share of all items that stands in any list."""
    return len(np.unique(shown_rows[shown_rows >= 0])) / max(n_items, 1)


def novelty(shown_rows: np.ndarray, popularity: np.ndarray, n_users: int) -> float:
    """Mean self-information of the shown items in bits: -log2 of the share of users that had the item in training.

    popularity: (n_items,) distinct users; both counts are raised by one, so that an item that nobody had is counted,
    too. (Zhou et al. 2010, "Solving the apparent diversity-accuracy dilemma".) 0.0 where nothing is shown.
    """
    shown = shown_rows[shown_rows >= 0]
    if shown.size == 0:
        return 0.0
    return float(-np.log2((popularity[shown] + 1.0) / (n_users + 1.0)).mean())


def intra_list_diversity(shown_rows: np.ndarray, vectors: np.ndarray) -> float:
    """1 - the mean cosine of two items of one list, averaged over the lists with two items that have vectors.

    vectors: (n_items, dim), zero rows for items without one. 0.0 where no list has two. (Ziegler et al. 2005.)
    """
    units = unit_rows(vectors)
    has_vector = np.linalg.norm(units, axis=1) > 0
    is_counted = (shown_rows >= 0) & has_vector[np.maximum(shown_rows, 0)]
    sums = np.zeros((len(shown_rows), vectors.shape[1]))
    for column in range(shown_rows.shape[1]):
        sums += np.where(is_counted[:, [column]], units[np.maximum(shown_rows[:, column], 0)], 0.0)
    counts = is_counted.sum(axis=1)
    pairs = counts * (counts - 1.0)
    cosines = np.square(sums).sum(axis=1) - counts  # of all ordered pairs: |sum|^2 less each vector's own 1
    several = pairs > 0
    return float(1.0 - (cosines[several] / pairs[several]).mean()) if several.any() else 0.0


def gini(shown_rows: np.ndarray, n_items: int) -> float:
    """Popularity bias: the Gini coefficient of how often each item is shown; 0 where all are shown alike, towards 1
    where a few take every place. 0.0 where nothing is shown."""
    exposure = np.sort(np.bincount(shown_rows[shown_rows >= 0], minlength=n_items))
    total = exposure.sum()
    if total == 0:
        return 0.0
    place = 2.0 * np.arange(1, n_items + 1) - n_items - 1.0
    return float((place * exposure).sum() / (n_items * total))


def bootstrap_interval(values: np.ndarray, seed: int, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean over `RESAMPLES` samples of the users with replacement (Efron 1979).

    values: (n_users,). Equal seeds and lengths draw the same users. (0.0, 0.0) without users.
    """
    if len(values) == 0:
        return 0.0, 0.0
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def bootstrap_difference(a: np.ndarray, b: np.ndarray, seed: int, level: float = 0.95) -> tuple[float, float]:
    """`bootstrap_interval` of the mean of a - b, the same users drawn for both; clear where it excludes 0."""
    return bootstrap_interval(a - b, seed, level)


@dataclass(frozen=True)
class Quality:
    """Means over `n_users` users; `coverage` is the share of the catalogue that stands in any of the lists."""

    n_users: int
    recall: float
    ndcg: float
    mrr: float
    coverage: float


def quality(ranks: np.ndarray, shown_rows: np.ndarray, n_items: int, k: int) -> Quality:
    """Means at `k`. ranks: at least `k` where a target was not shown; shown_rows: rows of all lists.

    Without users every mean is 0.0.
    """
    if len(ranks) == 0:
        return Quality(0, 0.0, 0.0, 0.0, 0.0)
    return Quality(
        n_users=len(ranks),
        recall=float(recall(ranks, k).mean()),
        ndcg=float(ndcg(ranks, k).mean()),
        mrr=float(reciprocal_rank(ranks, k).mean()),
        coverage=coverage(shown_rows, n_items),
    )
