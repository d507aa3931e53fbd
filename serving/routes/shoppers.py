"""`GET /v1/shoppers`: a few shoppers of the release, for whoever tries the service out or looks into a list."""

from __future__ import annotations

from collections.abc import Callable, Container
from http import HTTPStatus
from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel

from features.workspace.api_keys import Scope
from recsys.recommend import Recommender
from recsys.tables import EVENT_TYPES
from serving.ingress.problems import documented
from serving.ingress.scopes import needs
from serving.releases.active import ActiveRelease

MAX_SHOPPERS: Final = 100
N_RECENT: Final = 3


class ShopperItem(BaseModel):
    """What a shopper last did with an item."""

    item_id: str
    title: str | None
    category: str | None
    event_type: str


class Shopper(BaseModel):
    """A shopper whom the release knows; `recent` are the newest items of the history, the newest first."""

    user_id: str
    n_items: int
    recent: list[ShopperItem]


class Shoppers(BaseModel):
    """In the order of the release."""

    shoppers: list[Shopper]
    n_shoppers: int
    release_id: str


def shopper_routes(ready: Callable[[], ActiveRelease], forgotten: Container[object] = ()) -> APIRouter:
    """ready: what answers now; forgotten: shoppers who are left out."""
    routes = APIRouter()

    @routes.get(
        "/shoppers",
        summary="A few known shoppers",
        description="Spread evenly over those with a history, the same ones for the same release. Ids and histories of "
        "shoppers are personal data: where keys are needed, this takes one with the scope `admin`.",
        responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
        openapi_extra=needs(Scope.ADMIN),
    )
    async def shoppers(count: Annotated[int, Query(ge=1, le=MAX_SHOPPERS)] = 8) -> Shoppers:
        release = ready().release
        users = release.recommender.users
        return Shoppers(
            shoppers=[one for one in some_shoppers(release.recommender, count) if one.user_id not in forgotten],
            n_shoppers=len(users.rows),
            release_id=release.release_id,
        )

    return routes


def some_shoppers(recommender: Recommender, count: int) -> list[Shopper]:
    """At most `count` of the shoppers who dealt with an item, evenly spread over them."""
    users = recommender.users
    n_before = np.concatenate([[0], np.cumsum(users.entries.item_rows >= 0)])
    n_items = np.diff(n_before[users.indptr])
    with_items = np.flatnonzero(n_items)
    if len(with_items) > count:
        with_items = with_items[np.linspace(0, len(with_items) - 1, count).round().astype(np.int64)]
    user_ids = list(users.rows)
    return [
        Shopper(user_id=user_ids[row], n_items=int(n_items[row]), recent=_recent(recommender, user_ids[row]))
        for row in with_items.tolist()
    ]


def _recent(recommender: Recommender, user_id: str) -> list[ShopperItem]:
    history = recommender.users.history(user_id)
    newest = np.flatnonzero(history.item_rows >= 0)[::-1][:N_RECENT]
    return [
        ShopperItem(
            item_id=recommender.item_ids[item_row],
            title=recommender.properties.titles[item_row],
            category=recommender.properties.category.name(item_row),
            event_type=EVENT_TYPES[event_type],
        )
        for item_row, event_type in zip(
            history.item_rows[newest].tolist(), history.event_types[newest].tolist(), strict=True
        )
    ]
