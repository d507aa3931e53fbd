"""Sentences of reviews, and which of an item's speaks to what a shopper cares about."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from recsys.errors import StoreError
from recsys.interactions import positions
from recsys.release_files import QUOTES_FILE, VECTORS_FILE

_INT8_MAX: Final = 127.0


@dataclass(frozen=True)
class Quote:
    """A sentence of a review, word for word. `matched_on` names what it was chosen by: "text", "browsing",
    "history", or "item" where nothing is known of the shopper and it is the sentence that says most about the item."""

    text: str
    review_id: str
    stars: float
    matched_on: str


@dataclass(frozen=True)
class Evidence:
    """Item i's sentences are the rows indptr[i]:indptr[i + 1], the most informative first.

    quotes: review_id, rating, text; vectors: (n_quotes, dim) int8, each in its own scale: only their direction counts.
    """

    indptr: np.ndarray
    quotes: pl.DataFrame
    vectors: np.ndarray

    @classmethod
    def of(cls, quotes: pl.DataFrame, vectors: np.ndarray, item_ids: pl.Series) -> Evidence:
        """quotes: item_id, review_id, rating, text, the best of an item first; vectors: (n_quotes, dim)."""
        rows = positions(quotes["item_id"], item_ids)
        order = np.argsort(rows, kind="stable")
        order = order[rows[order] >= 0]
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-12)
        small = np.rint(vectors * (_INT8_MAX / largest)).astype(np.int8)
        counts = np.bincount(rows[order], minlength=len(item_ids))
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return cls(indptr, quotes.select("review_id", "rating", "text")[order], small[order])

    @classmethod
    def none(cls, n_items: int) -> Evidence:
        """For a release that has no sentences."""
        quotes = pl.DataFrame(schema={"review_id": pl.String, "rating": pl.Float64, "text": pl.String})
        return cls(np.zeros(n_items + 1, dtype=np.int64), quotes, np.zeros((0, 1), dtype=np.int8))

    def of_more_items(self, n_items: int) -> Evidence:
        """With items behind its own of which nothing was said."""
        n_added = n_items + 1 - len(self.indptr)
        return replace(self, indptr=np.concatenate([self.indptr, np.full(n_added, self.indptr[-1])]))

    def quote(
        self, item_row: int, direction: np.ndarray | None, matched_on: str, hidden: Container[str] = ()
    ) -> Quote | None:
        """The item's sentence nearest to `direction`, (dim,), or without that its most informative; None without any.

        hidden: ids of reviews that must not be quoted.
        """
        rows = np.arange(self.indptr[item_row], self.indptr[item_row + 1])
        if direction is not None and len(rows):
            vectors = self.vectors[rows].astype(np.float32)
            rows = rows[np.argsort(-(vectors @ direction) / np.linalg.norm(vectors, axis=1), kind="stable")]
        for row in rows.tolist():
            review_id, stars, text = self.quotes.row(row)
            if review_id not in hidden:
                return Quote(text, review_id, stars, matched_on if direction is not None else "item")
        return None

    def said_of(self, item_row: int, hidden: Container[str] = ()) -> list[Quote]:
        """Every sentence of the item's reviews that may be quoted, the most informative first."""
        rows = self.quotes[int(self.indptr[item_row]) : int(self.indptr[item_row + 1])]
        quotes = rows.select("review_id", "rating", "text").iter_rows()
        return [Quote(text, review_id, stars, "item") for review_id, stars, text in quotes if review_id not in hidden]

    def save(self, folder: Path) -> None:
        """The words as Parquet, which a replica reads into memory; the vectors, ten times as large, as mapped .npy."""
        counts = np.diff(self.indptr)
        item_rows = pl.Series("item_row", np.repeat(np.arange(len(counts)), counts), dtype=pl.Int32)
        self.quotes.with_columns(item_row=item_rows).write_parquet(folder / QUOTES_FILE)
        np.save(folder / VECTORS_FILE, self.vectors, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, n_items: int) -> Evidence:
        """Raises StoreError where the files are missing or damaged."""
        try:
            quotes = pl.read_parquet(folder / QUOTES_FILE)
            vectors = np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False).view(np.ndarray)
            counts = np.bincount(quotes["item_row"].to_numpy(), minlength=n_items)
            if len(vectors) != len(quotes) or len(counts) != n_items:
                raise ValueError(f"{len(quotes)} sentences, {len(vectors)} vectors, {len(counts)} of {n_items} items")
            return cls(np.concatenate([[0], np.cumsum(counts)]), quotes.select("review_id", "rating", "text"), vectors)
        except (OSError, EOFError, ValueError, pl.exceptions.PolarsError) as error:
            raise StoreError(
                f"{folder / QUOTES_FILE}: sentences of reviews cannot be read ({error}); run `recsys nightly` again"
            ) from None
