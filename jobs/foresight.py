"""How well a release foretells what shoppers chose after it was made.

A choice is compared with what other shoppers chose in the same days, so that popularity alone foretells nothing: where
ids were shuffled, among items or among events, exactly half of the comparisons come out right.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from jobs.data_checks import Foresight
from jobs.requests import sample_rows
from recsys.fusion import z_scores
from recsys.interactions import positions
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.split import next_items


def foresight(recommender: Recommender, targets: pl.DataFrame, max_targets: int, seed: int) -> Foresight | None:
    """Of shoppers with a history, by the weighted sum of all sources. targets: user_id, item_id, timestamp of new
    choices, one or more a shopper, of which the first counts.

    None with fewer than two such shoppers, or where all chose one item.
    """
    asked = next_items(_foretellable(recommender, targets))
    if len(asked) < 2 or asked["item_id"].n_unique() < 2:
        return None
    chosen_rows = positions(asked["item_id"], recommender.model.item_ids)
    distinct, counts = np.unique(chosen_rows, return_counts=True)
    drawn = sample_rows(asked, max_targets, seed)
    rows = positions(drawn["item_id"], recommender.model.item_ids)
    queries = [Query(user_id=user_id) for user_id in drawn["user_id"]]
    preferred = np.zeros(len(drawn))
    for batch in recommender.batches(len(queries)):
        totals = _totals(recommender, queries[batch])
        own = np.take_along_axis(totals, rows[batch, None], axis=1)
        others = totals[:, distinct]
        weights = np.where(distinct[None, :] == rows[batch, None], 0, counts[None, :])
        won = ((others < own) + 0.5 * (others == own)) * weights
        preferred[batch] = won.sum(axis=1) / weights.sum(axis=1)
    error = float(preferred.std(ddof=1) / np.sqrt(len(preferred)))
    return Foresight(float(preferred.mean()), error, len(preferred))


def _foretellable(recommender: Recommender, targets: pl.DataFrame) -> pl.DataFrame:
    """Those of shoppers that the release knows something of, on items that it knows."""
    users, known = recommender.users, recommender.model.item_ids
    told = [user_id for user_id in targets["user_id"].unique().sort() if len(users.history(user_id))]
    return targets.filter(pl.col("user_id").is_in(told) & pl.col("item_id").is_in(known.implode()))


def _totals(recommender: Recommender, queries: list[Query]) -> np.ndarray:
    """(n, n_items) the fused scores, hidden items among them: what was bought may be bought again."""
    scores, _, asked = recommender.score(queries)
    fusion, popularity = recommender.model.fusion, recommender.model.popularity
    names = [source.name for source in recommender.sources]
    totals: np.ndarray = fusion.contributions(names, z_scores(scores), popularity, asked).sum(axis=0)
    return totals
