"""The lists of a batch of shoppers, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from recsys.batch_scoring import slates
from recsys.query import Query
from recsys.recommend import Recommender

LISTS: Final = pl.Schema(
    {
        "user_id": pl.String(),
        "fallback": pl.String(),
        "items": pl.List(pl.Struct({"item_id": pl.String, "score": pl.Float64, "source": pl.String})),
    }
)
"""A row a shopper. fallback: why the list is not personal, null where it is."""


@dataclass(frozen=True)
class ListsRequest:
    """users: see `audience`; count: items a list; at: the time that the lists are made for, UTC; workers: processes, 1
    for this process alone, 0 for as many as are worth it."""

    users: str
    count: int
    at: datetime
    release_id: str | None = None
    workers: int = 0


@dataclass(frozen=True)
class Recipient:
    """user_id: as it was given; known_as: as the release has it."""

    user_id: str | None
    known_as: str | None


def lists_of(recommender: Recommender, shoppers: Sequence[Recipient], count: int, at: datetime) -> pl.DataFrame:
    """`LISTS` of the shoppers, in their order."""
    queries = [Query(user_id=each.known_as, count=count, asked_at=at) for each in shoppers]
    rows = [
        (
            each.user_id,
            slate.fallback,
            [{"item_id": item.item_id, "score": item.score, "source": item.source} for item in slate.items],
        )
        for each, slate in zip(shoppers, slates(recommender, queries), strict=True)
    ]
    return pl.DataFrame(rows, LISTS, orient="row")
