"""What a model of a benchmark answers: the place of every test user's target, and the lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp

from jobs.bench_data import BenchData
from jobs.bench_past import Past, read_past
from recsys.metrics import target_ranks
from recsys.recommend import batches
from recsys.top_k import top_k

K: Final = 10

RowScores = Callable[[slice], np.ndarray]
"""Positions of targets to their (n, n_items) scores, which the caller may overwrite."""


@dataclass(frozen=True)
class Answer:
    """ranks: (n_targets,) 0-based, ties against the target, at least `K` where it is not among the first; shown:
    (n_targets, K) item rows, padded with -1; fit_s: the last fit, without the search for settings; chosen: these, and
    the NDCG@10 on validation that they were chosen for."""

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
    """Puts what the users had, (n, n_items), behind everything else."""
    had = hidden.tocoo()
    scores[had.row, had.col] = -np.inf
