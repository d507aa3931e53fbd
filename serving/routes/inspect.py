"""`GET /v1/inspect/…`: what the page `/inspect` shows. Slow beside lists, so all of it is worked out in threads."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Container
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import combinations
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from features.workspace.api_keys import Scope
from recsys.nearest_ids import nearest_ids
from recsys.neighbours import SPACES, nearest_items, space_vectors
from recsys.query import Query as AskedQuery
from recsys.ranker_shares import feature_shares
from recsys.recommend import Recommender
from recsys.tables import EVENT_TYPES
from recsys.top_k import top_k
from serving.ingress.problems import ProblemError, documented
from serving.ingress.scopes import needs
from serving.lists.conversion import told_items
from serving.releases.active import ActiveRelease
from serving.releases.item_map import ItemMaps
from serving.schemas.inspect import (
    FOUND_EXAMPLE,
    MAP_EXAMPLE,
    Found,
    FoundItem,
    HistoryEntry,
    InspectedItem,
    InspectedShopper,
    ItemMap,
    Neighbour,
    RankerFeature,
    SpaceAgreement,
    SpaceNeighbours,
)
from serving.schemas.lists import MAX_TEXT_CHARS, Evidence, Id, ItemProperties

N_NEIGHBOURS: Final = 10
MAX_HISTORY: Final = 100
"""Newest entries that are told of a history."""

MAX_FEATURES: Final = 6


def inspect_routes(
    ready: Callable[[], ActiveRelease],
    asked_by: Callable[[str, int, ActiveRelease], Awaitable[AskedQuery]],
    maps: ItemMaps,
    forgotten: Container[object] = (),
) -> APIRouter:
    """ready: what answers now; asked_by: what a shopper's list of so many items is asked with, their last events
    included; forgotten: shoppers who are not told of."""
    routes = APIRouter(prefix="/inspect", tags=["inspect"])
    refusals = documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
    missing = documented(HTTPStatus.NOT_FOUND)

    @routes.get(
        "/find",
        summary="Items and shoppers by id or words",
        responses={200: {"content": {"application/json": {"example": FOUND_EXAMPLE}}}, **refusals},
        openapi_extra=needs(Scope.ADMIN),
    )
    async def find(
        words: Annotated[
            str, Query(min_length=1, max_length=MAX_TEXT_CHARS, description="an id, or words of an item's title")
        ],
        count: Annotated[int, Query(ge=1, le=50)] = 8,
    ) -> Found:
        return await asyncio.to_thread(found, ready(), words.strip(), count, forgotten)

    @routes.get(
        "/items/{item_id:path}",
        summary="An item and its neighbours in each space",
        responses={**refusals, **missing},
        openapi_extra=needs(Scope.ADMIN),
    )
    async def item(item_id: Annotated[Id, Path(description="the shop's id of the product")]) -> InspectedItem:
        return await asyncio.to_thread(inspected_item, ready(), item_id)

    @routes.get(
        "/shoppers/{user_id:path}",
        summary="A shopper's history and the reasons of a list",
        description="The list is made as /v1/recommend makes it, outside experiments, and is not recorded.",
        responses={**refusals, **missing},
        openapi_extra=needs(Scope.ADMIN),
    )
    async def shopper(
        user_id: Annotated[Id, Path(description="the shop's id of the shopper")],
        count: Annotated[int, Query(ge=1, le=50)] = 10,
    ) -> InspectedShopper:
        current = ready()
        query = await asked_by(user_id, count, current)
        known = current.release.recommender.users.rows
        if user_id in forgotten or (user_id not in known and not query.session):
            near = await asyncio.to_thread(nearest_shoppers, current.release.recommender, user_id, forgotten)
            told = f"; nearest ids: {', '.join(near)}" if near else ""
            said = f"shopper {user_id!r} has no history here{told}"
            raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-shopper", said)
        return await asyncio.to_thread(inspected_shopper, current, query)

    @routes.get(
        "/map",
        summary="Where every item lies among the others",
        response_model=ItemMap,
        responses={200: {"content": {"application/json": {"example": MAP_EXAMPLE}}}, **refusals},
        openapi_extra=needs(Scope.ADMIN),
    )
    async def item_map() -> Response:
        return Response(await maps.of(ready()), media_type="application/json")

    return routes


def found(live: ActiveRelease, words: str, count: int, forgotten: Container[object]) -> Found:
    """By exact id first."""
    recommender = live.release.recommender
    scores = recommender.properties.words.scores(words)
    rows = [row for row in top_k(scores, count).tolist() if scores[row] > 0]
    own = recommender.rows.get(words)
    if own is not None:
        rows = [own, *(row for row in rows if row != own)][:count]
    user_ids = sorted(recommender.users.rows)
    first = bisect_left(user_ids, words)
    beginning = [user_id for user_id in user_ids[first : first + count] if user_id.startswith(words)]
    shoppers = [user_id for user_id in beginning if user_id not in forgotten]
    is_lost = not rows and not shoppers
    return Found(
        items=[FoundItem(item_id=recommender.item_ids[row], **_named(recommender, row)) for row in rows],
        user_ids=shoppers,
        nearest_item_ids=nearest_ids(words, sorted(recommender.item_ids)) if is_lost else [],
        nearest_user_ids=nearest_shoppers(recommender, words, forgotten) if is_lost else [],
        release_id=live.release.release_id,
    )


def nearest_shoppers(recommender: Recommender, user_id: str, forgotten: Container[object]) -> list[str]:
    """At most three known ids."""
    near = nearest_ids(user_id, sorted(recommender.users.rows))
    return [one for one in near if one not in forgotten and one != user_id]


def inspected_item(live: ActiveRelease, item_id: str) -> InspectedItem:
    """Raises UnknownItemError, naming the nearest ids."""
    recommender = live.release.recommender
    row = recommender.row_of(item_id)
    near = {space: nearest_items(space_vectors(recommender, space), row, N_NEIGHBOURS) for space in SPACES}
    listed = {space: set(rows.tolist()) for space, (rows, _) in near.items()}
    spaces = []
    for space, (rows, cosines) in near.items():
        neighbours = [
            Neighbour(
                item_id=recommender.item_ids[other],
                similarity=round(float(cosine), 4),
                also_in=[name for name in SPACES if name != space and other in listed[name]],
                **_named(recommender, other),
            )
            for other, cosine in zip(rows.tolist(), cosines, strict=True)
        ]
        has_vector = bool(space_vectors(recommender, space)[row].any())
        spaces.append(SpaceNeighbours(space=space, has_vector=has_vector, neighbours=neighbours))
    told = [space for space in SPACES if listed[space]]
    agreement = [
        SpaceAgreement(one=one, other=other, share=len(listed[one] & listed[other]) / len(listed[one]))
        for one, other in combinations(told, 2)
    ]
    said = recommender.facts.evidence.said_of(row, recommender.facts.hidden)
    return InspectedItem(
        item_id=item_id,
        properties=ItemProperties(**recommender.properties.of_row(row)),
        quotes=[Evidence(**asdict(quote)) for quote in said],
        n_shoppers=int(recommender.model.popularity[row]),
        spaces=spaces,
        agreement=agreement,
        release_id=live.release.release_id,
    )


def inspected_shopper(live: ActiveRelease, query: AskedQuery) -> InspectedShopper:
    """query: explained, with the shopper's last events as its session."""
    recommender = live.release.recommender
    (slate,) = recommender.recommend([query])
    shares = feature_shares(recommender, query, slate)
    history = _since(recommender, query) + _before(recommender, query.user_id)
    return InspectedShopper(
        user_id=query.user_id or "",
        n_history=len(query.session) + len(recommender.users.history(query.user_id)),
        history=history[:MAX_HISTORY],
        items=told_items(slate, recommender, return_properties=False),
        is_ranked=recommender.is_ranked(query),
        ranker=[[RankerFeature(**asdict(one)) for one in own[:MAX_FEATURES]] for own in shares],
        fallback=slate.fallback,
        release_id=live.release.release_id,
    )


def _since(recommender: Recommender, query: AskedQuery) -> list[HistoryEntry]:
    return [
        HistoryEntry(
            timestamp=signal.timestamp,
            event_type=signal.event_type,
            item_id=signal.item_id,
            text=signal.text,
            weight=None,
            since_release=True,
            **_named(recommender, recommender.rows.get(signal.item_id or "")),
        )
        for signal in reversed(query.session)
    ]


def _before(recommender: Recommender, user_id: str | None) -> list[HistoryEntry]:
    known = recommender.users.history(user_id).take(slice(-MAX_HISTORY, None))
    entries = []
    for row, code, weight, at_us in zip(
        known.item_rows.tolist(),
        known.event_types.tolist(),
        known.weights.tolist(),
        known.timestamps.tolist(),
        strict=True,
    ):
        entry = HistoryEntry(
            timestamp=datetime.fromtimestamp(at_us / 1e6, UTC),
            event_type=EVENT_TYPES[code],
            item_id=recommender.item_ids[row] if row >= 0 else None,
            text=None,
            weight=round(weight, 4),
            since_release=False,
            **_named(recommender, row if row >= 0 else None),
        )
        entries.append(entry)
    return entries[::-1]


def _named(recommender: Recommender, row: int | None) -> dict[str, str | None]:
    if row is None:
        return {"title": None, "category": None}
    properties = recommender.properties
    return {"title": properties.titles[row], "category": properties.category.name(row)}
