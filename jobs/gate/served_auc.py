"""How well a release foretells what shoppers did after it was made.

What a shopper dealt with is compared with what others dealt with in the same days, so that popularity alone foretells
nothing: where ids were shuffled, among items or among events, half of the comparisons come out right.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from jobs.gate.data_checks import Foresight
from jobs.training.held_out_requests import sample_rows
from recsys.interactions import positions
from recsys.query import Query
from recsys.recommend import Recommender


def served_auc(recommender: Recommender, done: pl.DataFrame, max_users: int, seed: int) -> Foresight | None:
    """By the weighted sum of all sources, a mean of means of shoppers that have a history; hidden items count, as what
    was bought may be bought again. done: user_id, item_id of what shoppers did later; of a pair several rows count as
    one.

    None where fewer than two such shoppers dealt with something that not all the others did.
    """
    pairs = _foretellable(recommender, done)
    counted = pairs["item_id"].value_counts().sort("item_id")
    rows, counts = positions(counted["item_id"], recommender.model.item_ids), counted["count"].to_numpy()
    asked = sample_rows(pairs.select("user_id").unique().sort("user_id"), max_users, seed)
    own = dict(pairs.group_by("user_id").agg("item_id").iter_rows())
    preferred = []
    queries = [Query(user_id=user_id) for user_id in asked["user_id"]]
    for batch in recommender.batches(len(queries)):
        for query, fused in zip(queries[batch], recommender.fused(queries[batch]), strict=True):
            is_own = np.isin(rows, [recommender.rows[item_id] for item_id in own[query.user_id]])
            share = _preferred(fused.totals[rows], is_own, counts - is_own)
            preferred += [] if share is None else [share]
    if len(preferred) < 2:
        return None
    error = float(np.std(preferred, ddof=1) / np.sqrt(len(preferred)))
    return Foresight(float(np.mean(preferred)), error, len(preferred))


def _preferred(scores: np.ndarray, is_own: np.ndarray, others: np.ndarray) -> float | None:
    """Share of the pairs of an own item and one of the others' in which the own has the higher score, ties as half.

    others: (n,) how many other shoppers dealt with each item. None without others.
    """
    weights = np.where(is_own, 0, others)
    if not weights.any():
        return None
    own = scores[is_own][:, None]
    won = ((scores < own) + 0.5 * (scores == own)) @ weights
    return float(won.mean() / weights.sum())


def _foretellable(recommender: Recommender, done: pl.DataFrame) -> pl.DataFrame:
    """Distinct pairs of a shopper that the release knows something of and an item that it knows."""
    users, known = recommender.users, recommender.model.item_ids
    told = [user_id for user_id in done["user_id"].unique().sort() if len(users.history(user_id))]
    pairs = done.select("user_id", "item_id").unique().sort("user_id", "item_id")
    return pairs.filter(pl.col("user_id").is_in(told) & pl.col("item_id").is_in(known.implode()))
