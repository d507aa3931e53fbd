"""Collaborative filtering with `implicit`.

Item factors by ALS (Hu et al. 2008), BPR (Rendle et al. 2009) or LMF (Johnson 2014), and BM25 neighbours as a baseline.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.lmf import LogisticMatrixFactorization
from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight
from threadpoolctl import threadpool_limits

from recsys import config


def fit_factors(X: sp.csr_matrix, settings: config.FactorsSettings, seed: int) -> np.ndarray:
    """(n_items, dim) float32 item factors; zero rows for items without interactions.

    X: (n_users, n_items) weights > 0, already decayed. User factors are not stored: they are computed at request time
    from the shopper's history (`recsys.candidates.Factors`), so that the newest events count as well.
    """
    used = np.diff(X.tocsc().indptr) > 0
    if not used.any():
        return np.zeros((X.shape[1], settings.dim), dtype=np.float32)
    with threadpool_limits(limits=1, user_api="blas"):
        model = _model(settings, seed)
        model.fit(X, show_progress=False)
    # BPR and LMF append biases, which are not needed: popularity is a source of its own.
    factors = np.asarray(model.item_factors)[:, : settings.dim]
    return np.where(used[:, None], factors, 0.0).astype(np.float32)


def fit_bm25(X: sp.csr_matrix, neighbours: int, k1: float, b: float) -> sp.csr_matrix:
    """(n_items, n_items) float32 weights of each item's nearest items by BM25-weighted co-occurrence, including itself.

    X: (n_users, n_items) weights > 0. A history times these weights scores all items. Items are the documents and users
    the words (Robertson et al. 1994), so that a user with few items has more weight. k1: saturation of repeated
    interactions; b: penalty of popular items.
    """
    model = ItemItemRecommender(K=neighbours, num_threads=1)  # BM25Recommender without its warning about a COO matrix
    model.fit(bm25_weight(X.T, k1, b).T.tocsr(), show_progress=False)
    return sp.csr_matrix(model.similarity, dtype=np.float32)


def _model(settings: config.FactorsSettings, seed: int) -> Any:
    shared = {
        "factors": settings.dim,
        "iterations": settings.iterations,
        "regularization": settings.regularization,
        "random_state": seed,
    }
    if settings.model == "als":
        return AlternatingLeastSquares(alpha=settings.alpha, **shared)
    # These two update factors without locks, so that results are only reproducible with one thread.
    stochastic = BayesianPersonalizedRanking if settings.model == "bpr" else LogisticMatrixFactorization
    usual = {} if settings.learning_rate == 0 else {"learning_rate": settings.learning_rate}
    return stochastic(num_threads=1, **shared, **usual)
