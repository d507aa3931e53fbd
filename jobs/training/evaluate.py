"""Quality of the lists: the recommender's slates against the held-out choices of shoppers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from jobs.training.held_out_requests import requests, sampled
from recsys.batch_scoring import query_batches, source_scores
from recsys.interactions import positions
from recsys.metrics import bootstrap_interval, ndcg, quality, shown_ranks
from recsys.recommend import Recommender
from recsys.slices import frequency_slices
from recsys.split import HeldOut
from recsys.top_k import top_k

K = 10


def evaluate(
    recommender: Recommender, held_out: HeldOut, read_text: np.ndarray, max_users: int, seed: int
) -> dict[str, Any]:
    """Means at 10 by model and slice: the slates that would be served ("fused"), each source alone, and popularity.

    held_out: one target a user; read_text: as in `requests`. Slices: by the target's interactions in training (0, 1-4,
    5-19, 20+) and cold users. The slates that would be served have the 95 % interval of their NDCG, too.
    """
    held_out = sampled(held_out, max_users, seed)
    targets = held_out.targets
    target_rows = positions(targets["item_id"], recommender.model.item_ids)
    alone = [
        place for place, source in enumerate(recommender.sources) if source.name in recommender.model.fusion.weights
    ]
    names = ["fused", "popularity", *(recommender.sources[place].name for place in alone)]
    shown = {name: np.full((len(targets), K), -1, dtype=np.int64) for name in names}
    queries = requests(held_out, read_text, K)
    for batch in query_batches(recommender, len(queries)):
        scores, allowed, _ = source_scores(recommender, queries[batch])
        for row, slate in enumerate(recommender.recommend(queries[batch])):
            place = batch.start + row
            _fill(shown["fused"][place], np.array([recommender.rows[item.item_id] for item in slate.items]))
            ranked = {"popularity": recommender.model.popularity}
            ranked |= {recommender.sources[source].name: scores[source, row] for source in alone}
            for name, values in ranked.items():
                _fill(shown[name][place], top_k(np.where(allowed[row], values, -np.inf), K))
    slices = _slices(recommender, targets, target_rows)
    metrics = {name: _by_slice(shown[name], target_rows, slices, recommender.n_items) for name in names}
    for name, members in slices.items():
        gains = ndcg(shown_ranks(shown["fused"][members], target_rows[members]), K)
        metrics["fused"][name] |= zip(("ndcg_low", "ndcg_high"), bootstrap_interval(gains, seed), strict=True)
    return metrics


def _fill(places: np.ndarray, rows: np.ndarray) -> None:
    places[: len(rows)] = rows


def _slices(recommender: Recommender, targets: pl.DataFrame, target_rows: np.ndarray) -> dict[str, np.ndarray]:
    frequency = recommender.model.popularity[target_rows]
    known = np.array([len(recommender.users.history(user_id)) > 0 for user_id in targets["user_id"]], dtype=bool)
    return {
        "all": np.ones(len(targets), dtype=bool),
        **frequency_slices(frequency),
        "cold_user": ~known,
    }


def _by_slice(
    shown: np.ndarray, target_rows: np.ndarray, slices: dict[str, np.ndarray], n_items: int
) -> dict[str, dict[str, float]]:
    ranks = shown_ranks(shown, target_rows)
    return {name: asdict(quality(ranks[members], shown[members], n_items, K)) for name, members in slices.items()}
