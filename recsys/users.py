"""The shoppers of a release, as arrays: what each dealt with, searched for and read, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from recsys.interactions import positions
from recsys.sequence.histories import Sequences
from recsys.tables import EVENT_TYPES

HISTORY: Final = pl.List(
    pl.Struct(
        {
            "item_id": pl.String,
            "text_row": pl.Int32,
            "weight": pl.Float32,
            "timestamp": pl.Datetime("us", "UTC"),
            "event_type": pl.String,
            "n_bought": pl.Int32,
        }
    )
)
"""Type of the `history` column of the `users` table, oldest first. An entry has either an item_id or a text_row: the
place, among the vectors of the release's texts, of something searched for or read; its weight is 0."""


@dataclass(frozen=True)
class History:
    """The entries of one shopper or of several, oldest first; every array is (n,).

    item_rows: int32 positions in the model, -1 for a text; text_rows: int32 rows of `Users.texts`, -1 for an item;
    weights: float32, 0 for a text and for what was not liked; timestamps: int64 microseconds; event_types: int8
    positions in `EVENT_TYPES`; n_bought: int32.
    """

    item_rows: np.ndarray
    text_rows: np.ndarray
    weights: np.ndarray
    timestamps: np.ndarray
    event_types: np.ndarray
    n_bought: np.ndarray

    def __len__(self) -> int:
        return len(self.item_rows)

    def take(self, entries: np.ndarray | slice) -> History:
        """These entries, in their order."""
        return History(*(column[entries] for column in self._columns()))

    def followed_by(self, later: History) -> History:
        """These entries, then those."""
        both = zip(self._columns(), later._columns(), strict=True)
        return History(*(np.concatenate(columns) for columns in both))

    def _columns(self) -> tuple[np.ndarray, ...]:
        return (self.item_rows, self.text_rows, self.weights, self.timestamps, self.event_types, self.n_bought)


@dataclass(frozen=True)
class Users:
    """Histories in compressed rows: user r's entries are indptr[r]:indptr[r + 1] of `entries`.

    browsing: (n_users, dim) float32, norm 1 or zero; texts: (n_texts, dim) float32 vectors of what was searched for and
    read, which the entries' text rows point into.
    """

    rows: dict[str, int]
    indptr: np.ndarray
    entries: History
    browsing: np.ndarray
    texts: np.ndarray

    def history(self, user_id: str | None) -> History:
        """What one user did; empty for an unknown one."""
        row = self.rows.get(user_id, -1) if user_id is not None else -1
        return self.entries.take(slice(self.indptr[row], self.indptr[row + 1]) if row >= 0 else slice(0, 0))

    def sequences(self) -> Sequences:
        """Every user's liked items and texts, in the order of `rows`: what the sequence model learns from."""
        entries = self.entries
        read = (entries.weights > 0) | (entries.text_rows >= 0)
        n_before = np.concatenate([[0], np.cumsum(read)])
        return Sequences(
            n_before[self.indptr],
            entries.item_rows[read],
            entries.event_types[read],
            entries.timestamps[read],
            entries.text_rows[read],
        )


def users_from_table(table: pl.DataFrame, browsing: np.ndarray, texts: np.ndarray, item_ids: pl.Series) -> Users:
    """table: user_id, history (see `HISTORY`); browsing: (n_users, dim); texts: (n_texts, dim).

    Entries of items outside the model go.
    """
    exploded = (
        table.select(user_row=pl.int_range(pl.len(), dtype=pl.Int64), entry="history")
        .explode("entry", empty_as_null=True)
        .filter(pl.col("entry").is_not_null())
        .unnest("entry")
    )
    item_rows = positions(exploded["item_id"], item_ids)
    text_rows = exploded["text_row"].fill_null(-1).to_numpy()
    known = (item_rows >= 0) | (text_rows >= 0)
    counts = np.bincount(exploded["user_row"].to_numpy()[known], minlength=len(table))
    kind = exploded["event_type"].cast(pl.Enum(EVENT_TYPES)).to_physical()
    return Users(
        rows=dict(zip(table["user_id"].to_list(), range(len(table)), strict=True)),
        indptr=np.concatenate([[0], np.cumsum(counts)]),
        entries=History(
            item_rows[known].astype(np.int32),
            text_rows[known],
            exploded["weight"].to_numpy()[known],
            exploded["timestamp"].dt.epoch("us").to_numpy()[known],
            kind.cast(pl.Int8).to_numpy()[known],
            exploded["n_bought"].to_numpy()[known],
        ),
        browsing=browsing,
        texts=texts,
    )


def history_table(history: pl.DataFrame, read: pl.DataFrame, max_items: int, max_texts: int) -> pl.DataFrame:
    """user_id, history: each user's newest `max_items` items and `max_texts` texts, by user_id.

    history: rows of `recsys.interactions.histories`; read: user_id, timestamp, event_type, text_row; of equal times
    the later row is the newer.
    """
    fields = [field.name for field in HISTORY.inner.fields]  # type: ignore[union-attr]
    items = (
        history.sort("user_id", "timestamp", "item_id")
        .with_columns(text_row=pl.lit(None, dtype=pl.Int32), event_type=pl.col("event_type").cast(pl.String))
        .filter(pl.int_range(pl.len()).reverse().over("user_id") < max_items)
    )
    texts = (
        read.with_row_index("row")
        .sort("user_id", "timestamp", "row")
        .filter(pl.int_range(pl.len()).reverse().over("user_id") < max_texts)
        .select(
            "user_id",
            "timestamp",
            pl.col("event_type").cast(pl.String),
            pl.col("text_row").cast(pl.Int32),
            item_id=pl.lit(None, dtype=pl.String),
            weight=pl.lit(0.0, dtype=pl.Float32),
            n_bought=pl.lit(0, dtype=pl.Int32),
        )
    )
    columns = ["user_id", *fields]
    return (
        pl.concat([items.select(columns), texts.select(columns)], how="vertical_relaxed")
        # A search comes before what it led to, a page's text behind the item that it tells of: the other way round the
        # model would learn to answer a text with its own item.
        .sort("user_id", "timestamp", pl.col("event_type") != "search", maintain_order=True)
        .group_by("user_id", maintain_order=True)
        .agg(history=pl.struct(fields))
        .with_columns(pl.col("history").cast(HISTORY))
    )
