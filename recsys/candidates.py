"""Candidate sources: each scores every item for a batch of shoppers from one kind of evidence.

A source answers a zero row for a shopper of whom it has no evidence; `recsys.fusion` then leaves it out. All of them
are exact: at up to about a million items a full product costs less than an index (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import scipy.sparse as sp

from recsys.sparse_rows import ItemRows
from recsys.whitening import unit_rows


@dataclass(frozen=True)
class Shoppers:
    """What is known of a batch of shoppers, in matrix form.

    history: each item's weight after recency; query_vectors: (n, dim) of the sequence model; bought: how likely each
    bought item is to be bought again; browsing: (n, text dim) what the shopper searched for and read; query_text:
    (n, text dim) the text of this request, or the newest text of its session. Text vectors have norm 1; a zero row
    means that there is none. text_weight: (n,) float32, how much query_text counts, see `recsys.fusion`.
    """

    history: ItemRows
    query_vectors: np.ndarray
    bought: ItemRows
    browsing: np.ndarray
    query_text: np.ndarray
    text_weight: np.ndarray


class Source(Protocol):
    """One kind of evidence."""

    @property
    def name(self) -> str:
        """What the answer's `source` field calls it."""

    def scores(self, shoppers: Shoppers) -> np.ndarray:
        """(n, n_items) float32, larger is better; all zero for a shopper without this evidence."""


@dataclass(frozen=True)
class Linear:
    """Items that go with the history's items. weights: (n_items, n_items), see `recsys.linear`."""

    weights: sp.csr_matrix
    name: str = "linear"

    def scores(self, shoppers: Shoppers) -> np.ndarray:
        return shoppers.history.through(self.weights)


@dataclass(frozen=True)
class Factors:
    """Items near the shopper's factors, which are computed from the history at hand.

    item_factors: (n_items, dim). fold_in "als" solves the user's least squares of Hu et al. 2008 with confidence
    alpha * weight; "mean" averages the history's factors (for BPR and LMF, which have no closed form).
    """

    item_factors: np.ndarray
    regularization: float
    alpha: float
    fold_in: Literal["als", "mean"] = "als"
    name: str = "factors"

    def scores(self, shoppers: Shoppers) -> np.ndarray:
        return _products(self.user_factors(shoppers.history), self.item_factors)

    def user_factors(self, history: ItemRows) -> np.ndarray:
        """(n, dim) float32; zero rows for empty histories."""
        if self.fold_in == "mean":
            return unit_rows(history.times(self.item_factors))
        dim = self.item_factors.shape[1]
        factors = np.zeros((len(history), dim), dtype=np.float32)
        gram = self._gram + self.regularization * np.eye(dim, dtype=np.float32)
        for row in range(len(history)):
            item_rows, weights = history.row(row)
            confidence = self.alpha * weights
            if len(confidence):
                Y = self.item_factors[item_rows]
                A = gram + (Y.T * (confidence - 1.0)) @ Y
                factors[row] = np.linalg.solve(A, confidence @ Y)
        return factors

    @cached_property
    def _gram(self) -> np.ndarray:
        gram: np.ndarray = self.item_factors.T @ self.item_factors
        return gram


@dataclass(frozen=True)
class HistoryText:
    """Items that read like the history's items. vectors: (n_items, k) whitened, norm 1 or zero."""

    vectors: np.ndarray
    name: str = "text"

    def scores(self, shoppers: Shoppers) -> np.ndarray:
        profile = unit_rows(shoppers.history.times(self.vectors))
        return _products(profile, self.vectors)


@dataclass(frozen=True)
class VectorSource:
    """Items near one of the shopper's vectors: what the sequence model expects ("sequence"), what was searched for and
    read ("browsing"), the text of this request ("query_text").

    vectors: (n_items, dim), norm 1 or zero; of: which of the shoppers' vectors, (n, dim).
    """

    vectors: np.ndarray
    of: Callable[[Shoppers], np.ndarray]
    name: str

    def scores(self, shoppers: Shoppers) -> np.ndarray:
        return _products(self.of(shoppers), self.vectors)


@dataclass(frozen=True)
class BuyAgain:
    """What the shopper has bought and may need again. rates: (n_items,) share of an item's buyers who buy it again."""

    rates: np.ndarray
    name: str = "buy_again"

    def scores(self, shoppers: Shoppers) -> np.ndarray:
        return shoppers.bought.toarray() * self.rates


@dataclass(frozen=True)
class NonPersonal:
    """What sells, whoever asks: lately ("trending") or over the years ("popular"). values: (n_items,) float32."""

    values: np.ndarray
    name: str

    def scores(self, shoppers: Shoppers) -> np.ndarray:
        return np.broadcast_to(self.values, (len(shoppers.history), len(self.values)))


def _products(profiles: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """profiles @ vectors.T; most requests lack some evidence, and a product with zeros costs as much as any."""
    if not profiles.any():
        return np.zeros((len(profiles), len(vectors)), dtype=np.float32)
    return profiles @ vectors.T
