"""Classify texts by their words: logistic regression on hashed n-grams, which needs no stored vocabulary.

(Weinberger et al. 2009, "Feature hashing for large scale multitask learning".) It learns the words of the shop's
language, which the encoder may not have been trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

N_FEATURES: Final = 2**16
STRENGTHS: Final = (1.0, 3.0, 10.0, 30.0)
"""Inverse regularization strengths (C) that are tried."""

NEVER: Final = -20.0
"""Logit of a class without training examples."""


@dataclass(frozen=True)
class WordClassifier:
    """rarity: (N_FEATURES,) float32, inverse document frequencies of the n-grams; weights: (n_classes, N_FEATURES)
    float32; bias: (n_classes,) float32."""

    rarity: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, n_classes) float32."""
        result: np.ndarray = (_weighed(_counted(texts), self.rarity) @ self.weights.T).astype(np.float32) + self.bias
        return result


def fit_words(texts: Sequence[str], labels: np.ndarray, n_classes: int, seed: int) -> Iterator[WordClassifier]:
    """Regressions on the texts' (n,) int64 labels: one for each of `STRENGTHS`, with and without class weights."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import; not every run needs it

    counts = _counted(texts)
    rarity = np.log((1 + len(texts)) / (1 + counts.getnnz(axis=0))).astype(np.float32) + 1.0
    features = _weighed(counts, rarity)
    for strength, balance in product(STRENGTHS, (None, "balanced")):
        regression = LogisticRegression(C=strength, class_weight=balance, max_iter=1000, random_state=seed)
        regression.fit(features, labels)
        yield WordClassifier(rarity, *_spread(regression, n_classes))


def _counted(texts: Sequence[str]) -> sp.csr_matrix:
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(n_features=N_FEATURES, ngram_range=(1, 2), alternate_sign=False, norm=None)
    counts: sp.csr_matrix = hashed.transform(texts).tocsr()
    counts.data = 1.0 + np.log(counts.data)
    return counts


def _weighed(counts: sp.csr_matrix, rarity: np.ndarray) -> sp.csr_matrix:
    from sklearn.preprocessing import normalize

    return normalize(counts.multiply(rarity[None, :]).tocsr())


def _spread(regression: LogisticRegression, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of all classes; a regression on two classes has those of the second only."""
    weights = np.zeros((n_classes, N_FEATURES), dtype=np.float32)
    bias = np.full(n_classes, NEVER, dtype=np.float32)
    known = regression.classes_
    bias[known] = 0.0
    fitted = known[1:] if len(known) == 2 else known
    weights[fitted], bias[fitted] = regression.coef_, regression.intercept_
    return weights, bias
