"""How well a sequence model foresees what held-out shoppers chose."""

from __future__ import annotations

import numpy as np

from recsys.metrics import ndcg, target_ranks
from recsys.sequence.histories import Sequences
from recsys.sequence.model import SequenceModel

BLOCK_USERS = 256


def judged_histories(
    validation: tuple[Sequences, np.ndarray] | None, max_users: int, seed: int
) -> tuple[Sequences, np.ndarray] | None:
    """At most `max_users` validation histories that have a target; None where there is none."""
    if validation is None:
        return None
    rows = np.flatnonzero((validation[1] >= 0) & (np.diff(validation[0].indptr) > 0))
    if len(rows) > max_users:
        rows = np.sort(np.random.default_rng(seed).choice(rows, max_users, replace=False))
    return (validation[0].take(rows), validation[1][rows]) if len(rows) else None


def validation_ndcg(
    model: SequenceModel, histories: Sequences, targets: np.ndarray, browsing_text: np.ndarray | None
) -> float:
    """Mean NDCG@10 of one target a history over all items, those of the history left out."""
    queries = model.query_vectors(histories, browsing_text)
    ranks = []
    for start in range(0, len(histories), BLOCK_USERS):
        block = slice(start, min(start + BLOCK_USERS, len(histories)))
        scores = queries[block] @ model.item_vectors.T
        target_scores = scores[np.arange(len(scores)), targets[block]]
        entries = slice(histories.indptr[block.start], histories.indptr[block.stop])
        users = np.repeat(np.arange(len(scores)), np.diff(histories.indptr[block.start : block.stop + 1]))
        items = histories.item_rows[entries]
        scores[users[items >= 0], items[items >= 0]] = -np.inf
        scores[np.arange(len(scores)), targets[block]] = target_scores  # a repeat is judged like any other choice
        ranks.append(ndcg(target_ranks(scores, targets[block]), 10))
    return float(np.concatenate(ranks).mean())
