"""`GET /v1/popular` and `POST /v1/complements`: lists that need no shopper."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Query
from pydantic import Field

from features.workspace.api_keys import Scope
from recsys.config import Settings
from recsys.filters import InCategory
from recsys.nonpersonal import complements, popular
from serving.ingress.problems import documented
from serving.ingress.scopes import needs
from serving.lists.conversion import check_count, to_response, told_items
from serving.releases.active import ActiveRelease
from serving.schemas.list_options import BoundedFilter
from serving.schemas.lists import MAX_EXCLUDE_IDS, MAX_ID_CHARS, MAX_ITEM_IDS, Count, Id, Request, SlateResponse
from serving.telemetry.tracing import span

COMPLEMENTS_EXAMPLES: Final[dict[str, Any]] = {
    "an item": {"value": {"item_ids": ["i-318"], "count": 5}},
    "a basket": {"value": {"item_ids": ["i-318", "i-77"], "count": 4, "filter": {"price": {"max": 30}}}},
}


class ComplementsRequest(Request):
    """What is bought with these items."""

    item_ids: tuple[Id, ...] = Field(min_length=1, max_length=MAX_ITEM_IDS)
    count: Count = 10
    exclude_ids: tuple[Id, ...] = Field((), max_length=MAX_EXCLUDE_IDS)
    filter: BoundedFilter | None = None
    return_properties: bool = Field(False, strict=True)


def shelf_routes(
    ready: Callable[[], ActiveRelease],
    gone: Callable[[ActiveRelease], Awaitable[frozenset[str]]],
    settings: Settings,
    responses: Mapping[int | str, dict[str, Any]],
) -> APIRouter:
    """ready: what answers now; gone: ids that no list may hold, whatever that says; responses: those that
    every list may have, documented."""
    routes = APIRouter()

    @routes.get(
        "/popular",
        summary="What sells",
        responses={key: value for key, value in responses.items() if key not in (400, 413)},
        response_model_exclude_unset=True,
        openapi_extra=needs(Scope.READ),
    )
    async def what_sells(
        category: Annotated[
            str | None, Query(max_length=MAX_ID_CHARS, description="a path; all below it counts")
        ] = None,
        count: Annotated[int, Query(ge=1)] = 10,
        window: Annotated[Literal["lately", "ever"], Query(description="sold lately, or over the years")] = "lately",
        return_properties: bool = False,
    ) -> SlateResponse:
        start_s = time.perf_counter()
        check_count(count, settings.recommend.max_count)
        current = ready()
        release = current.release
        wanted = None if category is None else InCategory((category,))
        excluded = await gone(current)
        with span("recommend", count=count, release_id=release.release_id):
            slate = popular(release.recommender, wanted, count, excluded, lately=window == "lately")
        items = told_items(slate, release.recommender, return_properties)
        return to_response(slate, release.release_id, datetime.now(UTC), _since_ms(start_s), items)

    @routes.post(
        "/complements",
        summary="What is bought with an item, not instead of it",
        responses={**responses, **documented(HTTPStatus.NOT_FOUND)},
        response_model_exclude_unset=True,
        openapi_extra=needs(Scope.READ),
    )
    async def bought_with(
        request: Annotated[ComplementsRequest, Body(openapi_examples=COMPLEMENTS_EXAMPLES)],
    ) -> SlateResponse:
        start_s = time.perf_counter()
        check_count(request.count, settings.recommend.max_count)
        current = ready()
        release = current.release
        wanted = None if request.filter is None else request.filter.to_filter()
        excluded = (await gone(current)).union(request.exclude_ids)
        with span("recommend", count=request.count, release_id=release.release_id):
            slate = complements(release.recommender, request.item_ids, wanted, request.count, excluded)
        items = told_items(slate, release.recommender, request.return_properties)
        return to_response(slate, release.release_id, datetime.now(UTC), _since_ms(start_s), items)

    return routes


def _since_ms(start_s: float) -> float:
    return 1000 * (time.perf_counter() - start_s)
