"""The spaces that items lie in, and who is near whom in each."""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np

from recsys.errors import QueryError
from recsys.recommend import Recommender
from recsys.top_k import top_k

Space = Literal["text", "cf", "fused"]
"""The encoder's vectors of the items' texts; the factors of behaviour; both in one, what lists are found by."""

SPACES: Final[tuple[Space, ...]] = get_args(Space)


def space_vectors(recommender: Recommender, space: Space) -> np.ndarray:
    """(n_items, dim) float32, row by row the recommender's items; a zero row where an item has no vector."""
    match space:
        case "text":
            return recommender.model.text
        case "cf":
            return recommender.model.factors.item_factors
        case "fused":
            return recommender.vectors
    raise QueryError(f"no space {space!r}; there are {', '.join(SPACES)}")


def nearest_items(vectors: np.ndarray, row: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows nearest to a row by cosine, nearest first, and their cosines; none where the row is zero. Zero rows are
    nobody's neighbours."""
    vector = np.asarray(vectors[row], dtype=np.float32)
    if not vector.any():
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    cosines = np.full(len(vectors), -np.inf, dtype=np.float32)
    np.divide(vectors @ vector, norms * norms[row], out=cosines, where=norms > 0)
    cosines[row] = -np.inf
    rows = top_k(cosines, count)
    return rows, cosines[rows]
