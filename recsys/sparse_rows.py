"""Item rows with values, of one shopper or of many: what a history comes to in matrix terms.

A request has one shopper. SciPy's sparse matrices spend more on being made than on what little they then compute, so
one row is worked out in NumPy; many, as the nightly evaluation has, go to SciPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class ItemRows:
    """Compressed rows, (n, n_items): row r has `values` at the columns `items`, both over indptr[r]:indptr[r + 1].

    items: int, distinct within a row; values: float32.
    """

    indptr: np.ndarray
    items: np.ndarray
    values: np.ndarray
    n_items: int

    @classmethod
    def of(cls, rows: Sequence[tuple[np.ndarray, np.ndarray]], n_items: int) -> ItemRows:
        """rows: item rows and values of each shopper."""
        if len(rows) == 1:
            ((items, values),) = rows
            return cls(np.array([0, len(items)]), items, values, n_items)
        indptr = np.cumsum([0] + [len(items) for items, _ in rows])
        items, values = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return cls(indptr, items, values, n_items)

    @classmethod
    def of_matrix(cls, matrix: sp.csr_matrix) -> ItemRows:
        """The rows of a matrix (n, n_items); arrays are shared."""
        return cls(matrix.indptr, matrix.indices, matrix.data, matrix.shape[1])

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Items and values of one row."""
        entries = slice(self.indptr[number], self.indptr[number + 1])
        return self.items[entries], self.values[entries]

    def through(self, weights: sp.csr_matrix) -> np.ndarray:
        """(n, k) float32, dense: these rows times `weights`, (n_items, k)."""
        if len(self) != 1:
            return (self._matrix() @ weights).toarray().astype(np.float32, copy=False)
        starts = weights.indptr[self.items]
        lengths = weights.indptr[self.items + 1] - starts
        ends = np.cumsum(lengths)
        n_taken = int(ends[-1]) if len(ends) else 0
        taken = np.arange(n_taken) + np.repeat(starts - (ends - lengths), lengths)
        parts = weights.data[taken] * np.repeat(self.values, lengths)
        summed = np.bincount(weights.indices[taken], weights=parts, minlength=weights.shape[1])
        return summed[None].astype(np.float32)

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """(n, dim) float32: the sum of each row's items' vectors, each times its value. vectors: (n_items, dim)."""
        if len(self) == 1:
            return (self.values @ vectors[self.items])[None].astype(np.float32, copy=False)
        return np.asarray(self._matrix() @ vectors, dtype=np.float32)

    def toarray(self) -> np.ndarray:
        """(n, n_items) float32, 0 where a row has no value."""
        dense = np.zeros((len(self), self.n_items), dtype=np.float32)
        dense[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.items] = self.values
        return dense

    def _matrix(self) -> sp.csr_matrix:
        return sp.csr_matrix((self.values, self.items, self.indptr), shape=(len(self), self.n_items))
