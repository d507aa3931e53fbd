"""PCA whitening of text vectors: takes out what all texts of a shop share, so that cosines tell items apart.

(Su et al. 2021, "Whitening sentence representations for better semantics and faster retrieval".)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMALLEST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Whitening:
    """mean: (dim,) float32; projection: (dim, k) float32."""

    mean: np.ndarray
    projection: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(n, k) float32 of norm 1; zero rows (no text) stay zero."""
        centred = (vectors - self.mean) @ self.projection
        return unit_rows(np.where(vectors.any(axis=1, keepdims=True), centred, 0.0))


def fit_whitening(vectors: np.ndarray, dim: int, power: float = 1.0) -> Whitening:
    """The `dim` directions of largest variance, scaled to variance 1. Fewer where the texts do not span `dim`.

    power: how far they are scaled, down to 0, which turns the vectors only.

    vectors: (n, input dim) float32; zero rows are left out. With fewer than two texts nothing is learned and
    vectors pass through unchanged.
    """
    nonzero = vectors[vectors.any(axis=1)]
    width = vectors.shape[1]
    if len(nonzero) < 2:
        return Whitening(np.zeros(width, dtype=np.float32), np.eye(width, dtype=np.float32))
    mean = nonzero.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.cov((nonzero - mean).T))
    order = np.argsort(-variances)[: min(dim, len(nonzero) - 1)]
    projection = directions[:, order] / (variances[order] + SMALLEST_VARIANCE) ** (power / 2)
    return Whitening(mean.astype(np.float32), projection.astype(np.float32))


def has_texts(vectors: np.ndarray, block: int = 4096) -> bool:
    """Whether any of (n, dim) text vectors is not zero. Reads no further than the first that is not."""
    return any(vectors[start : start + block].any() for start in range(0, len(vectors), block))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its norm, float32; zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = np.divide(vectors, norms, out=np.zeros_like(vectors, dtype=np.float32), where=norms > 0)
    return scaled
