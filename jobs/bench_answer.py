"""What a model of a benchmark answers: the place of every test user's target, and the lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from jobs.bench_data import BenchData
from jobs.bench_past import Past, read_past
from recsys.metrics import target_ranks
from recsys.recommend import batches, top_k

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
    for rows, batch in scored(past, scores):
        ranks[rows] = target_ranks(batch, past.target_rows[rows])
        for place, row_scores in enumerate(batch, start=rows.start):
            best = top_k(row_scores, K)
            shown[place, : len(best)] = best
    return Answer(ranks, shown, fit_s, chosen)


def scored(past: Past, scores: RowScores) -> Iterator[tuple[slice, np.ndarray]]:
    """Batch by batch: the targets' positions and their (n, n_items) scores, -inf for what the user had."""
    hidden = past.hidden()
    for rows in batches(len(past.targets), past.n_items):
        batch = scores(rows)
        had = hidden[rows].tocoo()
        batch[had.row, had.col] = -np.inf
        yield rows, batch
