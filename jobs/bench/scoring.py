"""The history that models score from, and their answer: the rank of every test user's target, and the lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import scipy.sparse as sp

from jobs.bench.data import BenchData
from jobs.training.fit import history_of
from jobs.training.held_out_requests import sampled
from recsys.batch_scoring import batches
from recsys.config import Settings
from recsys.event_weights import event_weights
from recsys.interactions import interactions, matrix, positions
from recsys.metrics import target_ranks
from recsys.split import HeldOut
from recsys.top_k import top_k


@dataclass(frozen=True)
class Past:
    """seen: (n_users, n_items) float32, the weight of each pair, a purchase 1; popularity: (n_items,) distinct users.

    targets: user_id, item_id, timestamp; target_rows: (n_targets,) item positions. Histories of the users of the
    targets, one entry per item, oldest first, including the visit of the target: `had_by` is the target's position,
    `had_items` the item's, `age` the number of later entries, `strength` between 0 (disliked) and 1. n_before:
    (n_targets,) items in each history before that visit. repeats: whether known items may be targets.
    """

    seen: sp.csr_matrix
    popularity: np.ndarray
    targets: pl.DataFrame
    target_rows: np.ndarray
    had_by: np.ndarray
    had_items: np.ndarray
    age: np.ndarray
    strength: np.ndarray
    n_before: np.ndarray
    repeats: bool

    @property
    def n_items(self) -> int:
        return len(self.popularity)

    def history(self, decay: float) -> sp.csr_matrix:
        """(n_targets, n_items) float32: strength of each item, times `decay` for each later entry."""
        return self._by_target((decay**self.age * self.strength).astype(np.float32))

    def hidden(self) -> sp.csr_matrix:
        """(n_targets, n_items): entries are the items to exclude from the user's list; none if repeats count."""
        if self.repeats:
            return sp.csr_matrix((len(self.targets), self.n_items), dtype=np.float32)
        return self._by_target(np.ones(len(self.had_by), dtype=np.float32))

    def _by_target(self, values: np.ndarray) -> sp.csr_matrix:
        return sp.csr_matrix((values, (self.had_by, self.had_items)), shape=(len(self.targets), self.n_items))


def read_past(
    held_out: HeldOut, item_ids: pl.Series, settings: Settings, repeats: bool, most_targets: int | None
) -> Past:
    """most_targets: size of the sample of users, drawn with the settings' seed; None takes all."""
    if most_targets is not None:
        held_out = sampled(held_out, most_targets, settings.seed)
    targets = held_out.targets
    history = history_of(held_out.events, settings)
    pairs = interactions(history)
    full = max(event_weights(settings.interactions).values())
    seen = matrix(pairs, pairs["user_id"].unique().sort(), item_ids, pairs["weight"].to_numpy() / full)
    n_had = targets.join(history.group_by("user_id").len(), on="user_id", how="left", maintain_order="left")["len"]
    known = history if held_out.since.is_empty() else history_of(held_out.known, settings)
    had = (
        known.with_columns(
            had_by=pl.Series(positions(known["user_id"], targets["user_id"])),
            age=pl.int_range(pl.len()).reverse().over("user_id"),
            strength=(pl.col("weight") / full).clip(0.0, 1.0).sqrt(),
        )
        .filter(pl.col("had_by") >= 0)
        .sort("had_by", maintain_order=True)
    )
    return Past(
        seen=seen,
        popularity=np.asarray((seen > 0).sum(axis=0)).ravel().astype(np.float32),
        targets=targets,
        target_rows=positions(targets["item_id"], item_ids),
        had_by=had["had_by"].to_numpy(),
        had_items=positions(had["item_id"], item_ids),
        age=had["age"].to_numpy(),
        strength=had["strength"].to_numpy(),
        n_before=n_had.fill_null(0).to_numpy(),
        repeats=repeats,
    )


K: Final = 10

RowScores = Callable[[slice], np.ndarray]
"""Positions of targets -> their (n, n_items) scores, which the caller may overwrite."""


@dataclass(frozen=True)
class Answer:
    """ranks: (n_targets,) 0-based, ties against the target, at least `K` if it is not among the first `K`; shown:
    (n_targets, K) item rows, padded with -1; fit_s: seconds of the last fit, without tuning; chosen: the tuned settings
    and their NDCG@10 on validation."""

    ranks: np.ndarray
    shown: np.ndarray
    fit_s: float
    chosen: dict[str, object]


def past_of_test(data: BenchData) -> Past:
    return read_past(data.test, data.items["item_id"], data.settings, data.repeats, None)


def answer_of(past: Past, scores: RowScores, fit_s: float, chosen: dict[str, object]) -> Answer:
    n_targets = len(past.targets)
    ranks, shown = np.zeros(n_targets, dtype=np.int64), np.full((n_targets, K), -1)
    hidden = past.hidden()
    for rows in batches(n_targets, past.n_items):
        batch = scores(rows)
        hide(batch, hidden[rows])
        ranks[rows] = target_ranks(batch, past.target_rows[rows])
        for place, row_scores in enumerate(batch, start=rows.start):
            best = top_k(row_scores, K)
            shown[place, : len(best)] = best
    return Answer(ranks, shown, fit_s, chosen)


def hide(scores: np.ndarray, hidden: sp.csr_matrix) -> None:
    """Set the scores of the entries of `hidden`, (n, n_items), to -inf, in place."""
    had = hidden.tocoo()
    scores[had.row, had.col] = -np.inf
