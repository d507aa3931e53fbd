"""What the ranker's features add to the places of a list."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.batch_scoring import ranker_proposals
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.slate import Slate


@dataclass(frozen=True)
class FeatureShare:
    """One feature of one item: its value, and its SHAP value in the ranker's score."""

    feature: str
    value: float
    contribution: float


def feature_shares(recommender: Recommender, query: Query, slate: Slate) -> list[list[FeatureShare]]:
    """Of each item of the query's slate, the largest contribution first; empty for items that the ranker did not
    order, and for all where the weighted sum ranked alone."""
    ranker = recommender.ranker
    if ranker is None or not recommender.is_ranked(query):
        return [[] for _ in slate.items]
    (proposed, _), *_ = ranker_proposals(recommender, [query])
    at = {int(row): place for place, row in enumerate(proposed.item_rows)}
    shares = []
    for item in slate.items:
        place = at.get(recommender.rows[item.item_id])
        item_shares: list[FeatureShare] = []
        if place is not None:
            features = proposed.features[[place]]
            added = ranker.contributions(features)[0, :-1].tolist()
            named = zip(ranker.names, features[0].tolist(), added, strict=True)
            item_shares = sorted(
                (FeatureShare(*values) for values in named), key=lambda share: -abs(share.contribution)
            )
        shares.append(item_shares)
    return shares
