"""Linear item-item models: a shopper's history times a sparse matrix of weights gives a score for every item.

EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data") with a text term: the items' text vectors are
further rows of the data that the model must reconstruct, so that items which read alike support each other and an
item without any interaction still gets weights (CEASE, Jeunen et al. 2020, "Closed-form models for collaborative
filtering with side-information"). Its cost grows with the cube of the catalogue; above `max_ease_items` the weights
are shrunk cosines of co-occurrence and text instead.
"""

from __future__ import annotations

import logging

import numpy as np
import scipy.sparse as sp
import torch
from scipy.linalg import lapack

from recsys import config
from recsys.errors import DataError

log = logging.getLogger(__name__)

BLOCK_ITEMS = 512


def fit_linear(X: sp.csr_matrix, text: np.ndarray, settings: config.Linear) -> sp.csr_matrix:
    """(n_items, n_items) float32 weights, at most `settings.neighbours` a row, none of an item on itself.

    X: (n_users, n_items) interactions, of which only presence counts; text: (n_items, dim) of norm 1, or zero rows
    for items without text. Row i holds what having i in one's history says for every other item.
    """
    seen = X.copy()
    seen.data = np.ones_like(seen.data)
    n_items = seen.shape[1]
    fit = _ease if n_items <= settings.max_ease_items else _cosine
    weights = fit(seen, text, settings)
    log.info("linear fitted items=%d weights=%d", n_items, weights.nnz)
    return weights


def _ease(X: sp.csr_matrix, text: np.ndarray, settings: config.Linear) -> sp.csr_matrix:
    gram = (X.T @ X).toarray().astype(np.float32, order="F")
    n_items = len(gram)
    for start in range(0, n_items, BLOCK_ITEMS):
        rows = slice(start, start + BLOCK_ITEMS)
        gram[:, rows] += settings.text_weight * (text @ text[rows].T)
    gram[np.diag_indices(n_items)] += settings.regularization
    inverse = _inverse_of_positive_definite(gram)
    diagonal = np.diag(inverse).copy()
    blocks = []
    for start in range(0, n_items, BLOCK_ITEMS):
        rows = slice(start, min(start + BLOCK_ITEMS, n_items))
        block = inverse[rows] / -diagonal[None, :]
        block[np.arange(block.shape[0]), np.arange(rows.start, rows.stop)] = 0.0
        blocks.append(_largest_of_each_row(block, settings.neighbours))
    return sp.vstack(blocks, format="csr")


def _inverse_of_positive_definite(gram: np.ndarray) -> np.ndarray:
    """The symmetric inverse, in the memory of `gram` (Fortran order), by Cholesky."""
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    if failed:
        raise DataError(
            f"EASE: the item matrix is singular at item {failed} of {len(gram)}; raise linear.regularization"
        )
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    for start in range(0, len(inverse), BLOCK_ITEMS):  # LAPACK fills one triangle; mirror it block by block
        stop = min(start + BLOCK_ITEMS, len(inverse))
        corner = np.tril(inverse[start:stop, start:stop])
        inverse[start:stop, start:stop] = corner + np.tril(corner, -1).T
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
    return inverse


def _cosine(X: sp.csr_matrix, text: np.ndarray, settings: config.Linear) -> sp.csr_matrix:
    """Co-occurrence over the root of both counts, shrunk by the regularization, plus the text cosine of that pair."""
    columns = X.tocsc()
    counts = np.diff(columns.indptr).astype(np.float32)
    scale = torch.from_numpy(1.0 / np.sqrt(counts + settings.regularization * 0.1))  # (n_items,)
    transposed = columns.T.tocsr()
    vectors = torch.from_numpy(text)  # (n_items, dim)
    weighs_text = settings.text_weight > 0 and bool(text.any())
    blocks = []
    for start in range(0, X.shape[1], BLOCK_ITEMS):  # in torch, which uses every core on blocks of this size
        rows = slice(start, min(start + BLOCK_ITEMS, X.shape[1]))
        block = torch.from_numpy((transposed[rows] @ X).toarray())  # (block, n_items)
        block.mul_(scale[rows, None]).mul_(scale)
        if weighs_text:
            alike = (vectors[rows] @ vectors.T).clamp_(min=0.0)  # (block, n_items)
            block.add_(alike, alpha=settings.text_weight / settings.regularization)
        block[torch.arange(len(block)), torch.arange(rows.start, rows.stop)] = 0.0
        blocks.append(_largest_of_each_row(block.numpy(), settings.neighbours))
    return sp.vstack(blocks, format="csr")


def _largest_of_each_row(block: np.ndarray, k: int) -> sp.csr_matrix:
    """The `k` entries of each row that are largest in absolute value, as a sparse matrix with sorted indices."""
    k = min(k, block.shape[1])
    # on wide rows several times as fast as numpy's argpartition
    columns = torch.from_numpy(block).abs().topk(k, dim=1, sorted=False).indices.numpy()
    columns.sort(axis=1)
    values = np.take_along_axis(block, columns, axis=1)
    indptr = np.arange(0, block.shape[0] * k + 1, k)
    kept = sp.csr_matrix((values.ravel(), columns.ravel(), indptr), shape=block.shape)
    kept.eliminate_zeros()
    return kept.astype(np.float32)
