"""What is told of each item beyond its place: its properties, and why it is there."""

from __future__ import annotations

from dataclasses import asdict

from recsys.recommend import Recommender
from recsys.slate import RankedItem, Slate
from serving.contract import Evidence, ItemProperties, Reason, SlateItem
from serving.query import slate_item


def told_items(slate: Slate, recommender: Recommender, return_properties: bool) -> list[SlateItem]:
    """The items as they are sent; what was not asked for is not set."""
    return [_told(item, recommender, return_properties) for item in slate.items]


def _told(item: RankedItem, recommender: Recommender, return_properties: bool) -> SlateItem:
    sent = slate_item(item)
    if return_properties:
        sent.properties = ItemProperties(**recommender.properties.of_row(recommender.rows[item.item_id]))
    if item.explanation is not None:
        quote = item.explanation.quote
        sent.reason = Reason(**asdict(item.explanation.reason))
        sent.scores = item.explanation.scores
        sent.evidence = None if quote is None else Evidence(**asdict(quote))
    return sent
