"""`GET /v1/inspect/…`: the data of the page `/inspect`. It takes longer than lists do, so it is computed in threads."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Container
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
from recsys.query import Query as ListQuery
from recsys.ranker_shares import feature_shares
from recsys.recommend import Recommender
from recsys.tables import EVENT_TYPES
from recsys.top_k import top_k
from serving.ingress.problems import ProblemError, documented
from serving.ingress.scopes import needs
from serving.lists.response import response_items
from serving.releases.active import ActiveRelease
from serving.routes.services import AppServices
from serving.schemas.inspect import (
    FIND_EXAMPLE,
    MAP_EXAMPLE,
    FindResponse,
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
"""Only the newest entries of a history are returned."""

MAX_FEATURES: Final = 6


REFUSALS: Final = documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
MISSING: Final = documented(HTTPStatus.NOT_FOUND)

inspect_routes = APIRouter(prefix="/v1/inspect", tags=["recommendations", "inspect"])


@inspect_routes.get(
    "/find",
    summary="Find items and shoppers by id or title",
    responses={200: {"content": {"application/json": {"example": FIND_EXAMPLE}}}, **REFUSALS},
    openapi_extra=needs(Scope.ADMIN),
)
async def find(
    words: Annotated[
        str, Query(min_length=1, max_length=MAX_TEXT_CHARS, description="an id, or words of an item's title")
    ],
    services: AppServices,
    count: Annotated[int, Query(ge=1, le=50)] = 8,
) -> FindResponse:
    active = services.ready()
    return await asyncio.to_thread(matches_of, active, words.strip(), count, services.erased_users)


@inspect_routes.get(
    "/items/{item_id:path}",
    summary="An item and its neighbours in each space",
    responses={**REFUSALS, **MISSING},
    openapi_extra=needs(Scope.ADMIN),
)
async def item(
    item_id: Annotated[Id, Path(description="the shop's id of the product")], services: AppServices
) -> InspectedItem:
    return await asyncio.to_thread(inspected_item, services.ready(), item_id)


@inspect_routes.get(
    "/shoppers/{user_id:path}",
    summary="A shopper's history, and their list with reasons",
    description="The list is made as /v1/recommend makes it, outside experiments, and is not recorded.",
    responses={**REFUSALS, **MISSING},
    openapi_extra=needs(Scope.ADMIN),
)
async def shopper(
    user_id: Annotated[Id, Path(description="the shop's id of the shopper")],
    services: AppServices,
    count: Annotated[int, Query(ge=1, le=50)] = 10,
) -> InspectedShopper:
    active, erased_users = services.ready(), services.erased_users
    user_id = user_id if user_id in erased_users else services.user_ids.stored(user_id)
    query = await services.lists.query_for(user_id, count, active)
    known = active.release.recommender.users.rows
    if user_id in erased_users or (user_id not in known and not query.session):
        near = await asyncio.to_thread(nearest_shoppers, active.release.recommender, user_id, erased_users)
        hint = f"; nearest ids: {', '.join(near)}" if near else ""
        detail = f"shopper {user_id!r} has no history here{hint}"
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-shopper", detail)
    return await asyncio.to_thread(inspected_shopper, active, query)


@inspect_routes.get(
    "/map",
    summary="The map of all items",
    response_model=ItemMap,
    responses={200: {"content": {"application/json": {"example": MAP_EXAMPLE}}}, **REFUSALS},
    openapi_extra=needs(Scope.ADMIN),
)
async def item_map(services: AppServices) -> Response:
    return Response(await services.item_maps.of(services.ready()), media_type="application/json")


def matches_of(active: ActiveRelease, words: str, count: int, erased_users: Container[object]) -> FindResponse:
    """Items and shoppers that match; an item with exactly this id comes first."""
    recommender = active.release.recommender
    scores = recommender.properties.words.scores(words)
    rows = [row for row in top_k(scores, count).tolist() if scores[row] > 0]
    exact = recommender.rows.get(active.release.item_id_of(words))
    if exact is not None:
        rows = [exact, *(row for row in rows if row != exact)][:count]
    user_ids = sorted(recommender.users.rows)
    first = bisect_left(user_ids, words)
    beginning = [user_id for user_id in user_ids[first : first + count] if user_id.startswith(words)]
    shoppers = [user_id for user_id in beginning if user_id not in erased_users]
    has_no_match = not rows and not shoppers
    return FindResponse(
        items=[FoundItem(item_id=recommender.item_ids[row], **_named(recommender, row)) for row in rows],
        user_ids=shoppers,
        nearest_item_ids=nearest_ids(words, sorted(recommender.item_ids)) if has_no_match else [],
        nearest_user_ids=nearest_shoppers(recommender, words, erased_users) if has_no_match else [],
        release_id=active.release.release_id,
    )


def nearest_shoppers(recommender: Recommender, user_id: str, erased_users: Container[object]) -> list[str]:
    """At most three ids of known shoppers, the nearest first."""
    near = nearest_ids(user_id, sorted(recommender.users.rows))
    return [known_id for known_id in near if known_id not in erased_users and known_id != user_id]


def inspected_item(active: ActiveRelease, item_id: str) -> InspectedItem:
    """Raises UnknownItemError, naming the nearest ids."""
    recommender = active.release.recommender
    item_id = active.release.item_id_of(item_id)
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
    filled = [space for space in SPACES if listed[space]]
    agreement = [
        SpaceAgreement(space=first, other_space=second, share=len(listed[first] & listed[second]) / len(listed[first]))
        for first, second in combinations(filled, 2)
    ]
    quotes = recommender.facts.evidence.said_of(row, recommender.facts.hidden)
    return InspectedItem(
        item_id=item_id,
        properties=ItemProperties(**recommender.properties.of_row(row)),
        quotes=[Evidence(**asdict(quote)) for quote in quotes],
        n_shoppers=int(recommender.model.popularity[row]),
        spaces=spaces,
        agreement=agreement,
        release_id=active.release.release_id,
    )


def inspected_shopper(active: ActiveRelease, query: ListQuery) -> InspectedShopper:
    """query: with explanations, and with the shopper's recent events as its session."""
    recommender = active.release.recommender
    (slate,) = recommender.recommend([query])
    shares = feature_shares(recommender, query, slate)
    history = _since(recommender, query) + _before(recommender, query.user_id)
    return InspectedShopper(
        user_id=query.user_id or "",
        n_history=len(query.session) + len(recommender.users.history(query.user_id)),
        history=history[:MAX_HISTORY],
        items=response_items(slate, recommender, return_properties=False),
        is_ranked=recommender.is_ranked(query),
        ranker=[[RankerFeature(**asdict(share)) for share in of_item[:MAX_FEATURES]] for of_item in shares],
        fallback=slate.fallback,
        release_id=active.release.release_id,
    )


def _since(recommender: Recommender, query: ListQuery) -> list[HistoryEntry]:
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
