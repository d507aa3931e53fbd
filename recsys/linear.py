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


def fit_linear(X: sp.csr_matrix, text: np.ndarray, settings: config.LinearSettings) -> sp.csr_matrix:
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


def _ease(X: sp.csr_matrix, text: np.ndarray, settings: config.LinearSettings) -> sp.csr_matrix:
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
        signed = torch.from_numpy(block)
        blocks.append(_largest_of_each_row(signed, signed.abs(), settings.neighbours))
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


def _cosine(X: sp.csr_matrix, text: np.ndarray, settings: config.LinearSettings) -> sp.csr_matrix:
    """Co-occurrence over the root of both counts, shrunk by the regularization, plus the text cosine of that pair."""
    columns = X.tocsc()
    counts = np.diff(columns.indptr).astype(np.float32)
    scale = 1.0 / np.sqrt(counts + settings.regularization * 0.1)
    transposed = columns.T.tocsr()
    vectors = torch.from_numpy(text)  # (n_items, dim)
    weighs_text = settings.text_weight > 0 and bool(text.any())
    # blocks of a large catalogue are so large that allocating them again costs as much as filling them
    block_memory, alike_memory = torch.empty(2, BLOCK_ITEMS if weighs_text else 0, X.shape[1])
    blocks = []
    for start in range(0, X.shape[1], BLOCK_ITEMS):
        rows = slice(start, min(start + BLOCK_ITEMS, X.shape[1]))
        n_rows = rows.stop - rows.start
        together = sp.diags_array(scale[rows]) @ (transposed[rows] @ X) @ sp.diags_array(scale)
        together = sp.csr_matrix(together, dtype=np.float32)
        if weighs_text:
            block = block_memory[:n_rows]  # (block, n_items)
            together.toarray(out=block.numpy())
            alike = torch.mm(vectors[rows], vectors.T, out=alike_memory[:n_rows])  # (block, n_items)
            block.add_(alike.clamp_(min=0.0), alpha=settings.text_weight / settings.regularization)
            block[torch.arange(n_rows), torch.arange(rows.start, rows.stop)] = 0.0
            blocks.append(_largest_of_each_row(block, block, settings.neighbours))
        else:
            together.setdiag(0.0, k=rows.start)
            blocks.append(_largest_stored(together, settings.neighbours))
    return sp.vstack(blocks, format="csr")


def _largest_stored(block: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """`_largest_of_each_row` of positive weights, most of which are zero and not stored."""
    indptr, columns, values = [0], [], []
    for row in range(block.shape[0]):
        entries = slice(block.indptr[row], block.indptr[row + 1])
        weights = block.data[entries]
        largest_places = np.flatnonzero(weights) if len(weights) <= k else np.sort(np.argpartition(-weights, k - 1)[:k])
        columns.append(block.indices[entries][largest_places])
        values.append(weights[largest_places])
        indptr.append(indptr[-1] + len(largest_places))
    parts = (np.concatenate(values), np.concatenate(columns), indptr)
    largest = sp.csr_matrix(parts, shape=block.shape)
    largest.sort_indices()
    return largest


def _largest_of_each_row(block: torch.Tensor, strength: torch.Tensor, k: int) -> sp.csr_matrix:
    """The `k` entries of each row whose `strength` is largest, as a sparse matrix with sorted indices."""
    n_rows, n_columns = block.shape
    k = min(k, n_columns)
    columns = strength.topk(k, dim=1, sorted=False).indices.sort(dim=1).values  # (n_rows, k)
    values = block.gather(1, columns)  # (n_rows, k)
    indptr = np.arange(0, n_rows * k + 1, k)
    largest = sp.csr_matrix((values.numpy().ravel(), columns.numpy().ravel(), indptr), shape=(n_rows, n_columns))
    largest.eliminate_zeros()
    return largest.astype(np.float32)
