"""Items by the words of their texts, ranked by BM25, in memory.

(Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond".) Weights are computed once, so
that a search adds up a few sparse rows; no table is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp

from recsys.tokens import words

K1: Final = 1.2
B: Final = 0.5
"""How soon a repeated word stops counting, and how much a long text loses; titles vary little in length."""


@dataclass(frozen=True)
class WordIndex:
    """terms: rows of `weights` by word; weights: (n_terms, n_items) float32, each word's BM25 weight in each item."""

    terms: dict[str, int]
    weights: sp.csr_matrix

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordIndex:
        """texts: one an item."""
        terms: dict[str, int] = {}
        rows: list[int] = []
        lengths = np.zeros(len(texts), dtype=np.int64)
        for place, text in enumerate(texts):
            tokens = words(text)
            rows += [terms.setdefault(word, len(terms)) for word in tokens]
            lengths[place] = len(tokens)
        columns = np.repeat(np.arange(len(texts)), lengths)
        counts = sp.csr_matrix(
            (np.ones(len(rows), dtype=np.float32), (np.array(rows, dtype=np.int64), columns)), (len(terms), len(texts))
        )
        counts.sum_duplicates()
        n_with = np.diff(counts.indptr)
        rarity = np.log(1.0 + (len(texts) - n_with + 0.5) / (n_with + 0.5))
        norm = K1 * (1.0 - B + B * lengths / max(float(lengths.mean()) if len(texts) else 0.0, 1.0))
        counts.data = (
            np.repeat(rarity, n_with) * counts.data * (K1 + 1.0) / (counts.data + norm[counts.indices])
        ).astype(np.float32)
        return cls(terms, counts)

    def scores(self, text: str) -> np.ndarray:
        """(n_items,) float32; 0 for an item that has none of the words."""
        rows = [self.terms[word] for word in dict.fromkeys(words(text)) if word in self.terms]
        scores = np.zeros(self.weights.shape[1], dtype=np.float32)
        for row in rows:
            entries = slice(self.weights.indptr[row], self.weights.indptr[row + 1])
            scores[self.weights.indices[entries]] += self.weights.data[entries]
        return scores
