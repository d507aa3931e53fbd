"""Whether a space of vectors tells its points apart: anisotropy, hubs, norms, dead dimensions, agreeing neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.whitening import unit_rows

BLOCK_ROWS: Final = 256
MAX_ROWS: Final = 5_000
"""Points that are looked at, drawn with the seed: neighbours among so many take seconds."""

DEAD: Final = 1e-3
"""A dimension is dead where its deviation is below this part of the largest one."""


@dataclass(frozen=True)
class Health:
    """One space of `n_vectors` vectors that are not zero (of `n_vectors + n_zero`), in `dim` dimensions.

    anisotropy: mean cosine of two of them drawn at random, 0 where all directions are used alike (Ethayarajh 2019);
    effective_dim: exp of the entropy of the shares of the covariance's eigenvalues (Roy and Vetterli 2007), at most
    `dim`; hubness: skewness of how often each point is among the others' `k` nearest, 0 without hubs (Radovanovic et
    al. 2010); hub_share: part of all neighbour places that the most frequent hundredth takes; orphan_share: part of
    the points that are nobody's neighbour; norm_mean, norm_deviation: of the vectors as they are.
    """

    n_vectors: int
    n_zero: int
    dim: int
    anisotropy: float
    effective_dim: float
    hubness: float
    hub_share: float
    orphan_share: float
    norm_mean: float
    norm_deviation: float
    dead_dims: int


def health(vectors: np.ndarray, k: int = 10, seed: int = 0) -> Health:
    """vectors: (n, dim); rows of zeros or NaN have no vector. With fewer than 3 vectors all figures are 0."""
    vectors = np.nan_to_num(np.asarray(vectors, dtype=np.float32))
    norms = np.linalg.norm(vectors, axis=1)
    has_vector = np.flatnonzero(norms > 0)
    n_zero, dim = len(vectors) - len(has_vector), vectors.shape[1]
    if len(has_vector) < 3:
        return Health(len(has_vector), n_zero, dim, *(0.0,) * 7, dead_dims=0)
    rows = sampled_rows(has_vector, seed)
    deviation = vectors[has_vector].std(axis=0)
    units = unit_rows(vectors[rows])
    n = len(units)
    squared = float(np.square(units.sum(axis=0)).sum())
    counts = np.bincount(nearest(units, k).ravel(), minlength=n)
    busiest = np.sort(counts)[::-1][: max(1, n // 100)]
    return Health(
        n_vectors=len(has_vector),
        n_zero=n_zero,
        dim=dim,
        anisotropy=(squared - n) / (n * (n - 1)),
        effective_dim=_effective_dim(units),
        hubness=_skewness(counts),
        hub_share=float(busiest.sum() / max(counts.sum(), 1)),
        orphan_share=float((counts == 0).mean()),
        norm_mean=float(norms[has_vector].mean()),
        norm_deviation=float(norms[has_vector].std()),
        dead_dims=int((deviation < DEAD * max(float(deviation.max()), 1e-12)).sum()),
    )


def neighbour_agreement(first: np.ndarray, other: np.ndarray, k: int = 10, seed: int = 0) -> float:
    """The mean share of a point's `k` nearest in one space that is among its `k` nearest in the other.

    one, other: (n, dim) of the same points; those without a vector in either are left out. NaN with fewer than 3.
    """
    has_both = np.nan_to_num(first).any(axis=1) & np.nan_to_num(other).any(axis=1)
    rows = sampled_rows(np.flatnonzero(has_both), seed)
    if len(rows) < 3:
        return float("nan")
    ours, others = (nearest(unit_rows(np.asarray(space[rows], dtype=np.float32)), k) for space in (first, other))
    same = [len(np.intersect1d(a, b, assume_unique=True)) for a, b in zip(ours, others, strict=True)]
    return float(np.mean(same) / ours.shape[1])


def nearest(units: np.ndarray, k: int, rows: np.ndarray | None = None) -> np.ndarray:
    """(n_rows, min(k, n - 1)) positions of the nearest others by cosine of each of `rows`, of all by default, in no
    order. units: (n, dim), norm 1 or zero."""
    rows = np.arange(len(units)) if rows is None else rows
    k = min(k, len(units) - 1)
    neighbours = np.empty((len(rows), k), dtype=np.int64)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        cosines = units[block] @ units.T
        cosines[np.arange(len(block)), block] = -np.inf
        neighbours[start : start + BLOCK_ROWS] = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    return neighbours


def sampled_rows(rows: np.ndarray, seed: int, most: int = MAX_ROWS) -> np.ndarray:
    """At most so many of the rows, ascending, drawn with the seed."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _effective_dim(units: np.ndarray) -> float:
    centred = units - units.mean(axis=0)
    shares = np.square(np.linalg.svd(centred, compute_uv=False))
    shares = shares[shares > 0] / max(float(shares.sum()), 1e-12)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _skewness(counts: np.ndarray) -> float:
    deviation = float(counts.std())
    return float(np.mean(((counts - counts.mean()) / deviation) ** 3)) if deviation > 0 else 0.0
