"""The shoppers of a release, as arrays: who dealt with what, when, and what they searched for and read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.interactions import positions

HISTORY = pl.List(
    pl.Struct(
        {
            "item_id": pl.String,
            "weight": pl.Float32,
            "timestamp": pl.Datetime("us", "UTC"),
            "bought": pl.Boolean,
        }
    )
)
"""Type of the `history` column of the `users` table, oldest first."""


@dataclass(frozen=True)
class Users:
    """Histories in compressed rows: user r's entries are indptr[r]:indptr[r + 1], oldest first.

    item_rows: int32 positions in the model; weights: float32; bought: bool; browsing: (n_users, dim) float32, norm 1
    or zero.
    """

    rows: dict[str, int]
    indptr: np.ndarray
    item_rows: np.ndarray
    weights: np.ndarray
    bought: np.ndarray
    browsing: np.ndarray

    def history(self, user_id: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """item rows, weights and bought flags of one user, oldest first; empty for an unknown one."""
        row = self.rows.get(user_id, -1) if user_id is not None else -1
        entries = slice(self.indptr[row], self.indptr[row + 1]) if row >= 0 else slice(0, 0)
        return self.item_rows[entries], self.weights[entries], self.bought[entries]


def users_from_table(table: pl.DataFrame, browsing: np.ndarray, item_ids: pl.Series) -> Users:
    """table: user_id, history (see `HISTORY`); browsing: (n_users, dim). Entries of items outside the model go."""
    exploded = (
        table.select(user_row=pl.int_range(pl.len(), dtype=pl.Int64), entry="history")
        .explode("entry", empty_as_null=True)
        .filter(pl.col("entry").is_not_null())
        .unnest("entry")
    )
    item_rows = positions(exploded["item_id"], item_ids)
    known = item_rows >= 0
    user_rows = exploded["user_row"].to_numpy()[known]
    counts = np.bincount(user_rows, minlength=len(table))
    return Users(
        rows=dict(zip(table["user_id"].to_list(), range(len(table)), strict=True)),
        indptr=np.concatenate([[0], np.cumsum(counts)]),
        item_rows=item_rows[known].astype(np.int32),
        weights=exploded["weight"].to_numpy()[known],
        bought=exploded["bought"].to_numpy()[known],
        browsing=browsing,
    )


def history_table(history: pl.DataFrame, max_history: int) -> pl.DataFrame:
    """user_id, history: the newest `max_history` rows of each user of `recsys.interactions.histories`, by user_id."""
    return (
        history.sort("user_id", "timestamp", "item_id")
        .group_by("user_id", maintain_order=True)
        .agg(history=pl.struct("item_id", "weight", "timestamp", "bought").tail(max_history))
        .with_columns(pl.col("history").cast(HISTORY))
    )
