"""`GET /v1/shoppers`: a sample of the release's shoppers, to try the service out and to look into lists."""

from __future__ import annotations

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
from serving.routes.services import AppServices

MAX_SHOPPERS: Final = 100
N_RECENT: Final = 3


class ShopperItem(BaseModel):
    """A shopper's latest event with an item."""

    item_id: str
    title: str | None
    category: str | None
    event_type: str


class Shopper(BaseModel):
    """A shopper whom the release knows; `recent` holds the latest items of the history, the latest first."""

    user_id: str
    n_items: int
    recent: list[ShopperItem]


class Shoppers(BaseModel):
    """The sample, in the order of the release; `n_shoppers` counts all shoppers that the release knows."""

    shoppers: list[Shopper]
    n_shoppers: int
    release_id: str


shopper_routes = APIRouter(prefix="/v1", tags=["recommendations"])


@shopper_routes.get(
    "/shoppers",
    summary="A sample of known shoppers",
    description="Spread evenly over the shoppers with a history; the same shoppers for the same release. Ids and "
    "histories of shoppers are personal data: where keys are required, this route needs one with the scope `admin`.",
    responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
    openapi_extra=needs(Scope.ADMIN),
)
async def shoppers(services: AppServices, count: Annotated[int, Query(ge=1, le=MAX_SHOPPERS)] = 8) -> Shoppers:
    release = services.ready().release
    users = release.recommender.users
    sample = some_shoppers(release.recommender, count)
    return Shoppers(
        shoppers=[shopper for shopper in sample if shopper.user_id not in services.erased_users],
        n_shoppers=len(users.rows),
        release_id=release.release_id,
    )


def some_shoppers(recommender: Recommender, count: int) -> list[Shopper]:
    """At most `count` of the shoppers with an item in their history, evenly spread over them."""
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
