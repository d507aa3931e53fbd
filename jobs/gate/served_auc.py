"""How well a release predicts what shoppers did after it was built.

Each shopper's later items are compared with the later items of other shoppers in the same days, so that popularity
alone predicts nothing: where ids were shuffled, among items or among events, half of the comparisons come out right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from jobs.training.held_out_requests import sample_rows
from recsys.batch_scoring import fused_scores, query_batches
from recsys.interactions import positions
from recsys.query import Query
from recsys.recommend import Recommender


@dataclass(frozen=True)
class ServedAuc:
    """value: mean AUC, 0 to 1: how often a release scored an item that a shopper chose later above an item that others
    chose; 0.5 is chance. error: standard error of the mean over `n` shoppers."""

    value: float
    error: float
    n: int


def served_auc(recommender: Recommender, done: pl.DataFrame, max_users: int, seed: int) -> ServedAuc | None:
    """The mean AUC of the weighted sum of all sources, over shoppers with a history. Hidden items count too, since what
    was bought may be bought again. done: user_id, item_id of what shoppers did later; repeated pairs count once.

    None with fewer than two such shoppers who chose something that not all the others chose.
    """
    pairs = _measurable_pairs(recommender, done)
    counted = pairs["item_id"].value_counts().sort("item_id")
    rows, counts = positions(counted["item_id"], recommender.model.item_ids), counted["count"].to_numpy()
    sample = sample_rows(pairs.select("user_id").unique().sort("user_id"), max_users, seed)
    item_ids_of = dict(pairs.group_by("user_id").agg("item_id").iter_rows())
    areas = []
    queries = [Query(user_id=user_id) for user_id in sample["user_id"]]
    for batch in query_batches(recommender, len(queries)):
        for query, fused in zip(queries[batch], fused_scores(recommender, queries[batch]), strict=True):
            is_own = np.isin(rows, [recommender.rows[item_id] for item_id in item_ids_of[query.user_id]])
            area = _auc(fused.totals[rows], is_own, counts - is_own)
            areas += [] if area is None else [area]
    if len(areas) < 2:
        return None
    error = float(np.std(areas, ddof=1) / np.sqrt(len(areas)))
    return ServedAuc(float(np.mean(areas)), error, len(areas))


def _auc(scores: np.ndarray, is_own: np.ndarray, others: np.ndarray) -> float | None:
    """Share of the pairs of an own item and an item of others in which the own one scores higher; ties count half.

    others: (n,) how many other shoppers chose each item. None without others.
    """
    weights = np.where(is_own, 0, others)
    if not weights.any():
        return None
    own_scores = scores[is_own][:, None]
    won = ((scores < own_scores) + 0.5 * (scores == own_scores)) @ weights
    return float(won.mean() / weights.sum())


def _measurable_pairs(recommender: Recommender, done: pl.DataFrame) -> pl.DataFrame:
    """Distinct pairs of a shopper with a history and an item of the release."""
    users, known = recommender.users, recommender.model.item_ids
    user_ids = [user_id for user_id in done["user_id"].unique().sort() if len(users.history(user_id))]
    pairs = done.select("user_id", "item_id").unique().sort("user_id", "item_id")
    return pairs.filter(pl.col("user_id").is_in(user_ids) & pl.col("item_id").is_in(known.implode()))
