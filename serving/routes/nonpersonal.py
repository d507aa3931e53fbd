"""`GET /v1/popular` and `POST /v1/complements`: lists that are the same for every shopper."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Query
from pydantic import Field

from features.workspace.api_keys import Scope
from recsys.filters import InCategory
from recsys.nonpersonal import complements, popular
from serving.ingress.problems import documented
from serving.ingress.scopes import needs
from serving.lists.aliases import item_ids_of
from serving.lists.request import check_count
from serving.lists.response import response_items, to_response
from serving.routes.responses import LIST_RESPONSES
from serving.routes.services import AppServices
from serving.schemas.list_options import BoundedFilter
from serving.schemas.lists import MAX_EXCLUDE_IDS, MAX_ID_CHARS, MAX_ITEM_IDS, Count, Id, Request, SlateResponse
from serving.telemetry.tracing import span

COMPLEMENTS_EXAMPLES: Final[dict[str, Any]] = {
    "an item": {"value": {"item_ids": ["i-318"], "count": 5}},
    "a basket": {"value": {"item_ids": ["i-318", "i-77"], "count": 4, "filter": {"price": {"max": 30}}}},
}


class ComplementsRequest(Request):
    """Asks for items that are bought together with these items."""

    item_ids: tuple[Id, ...] = Field(min_length=1, max_length=MAX_ITEM_IDS)
    count: Count = 10
    exclude_ids: tuple[Id, ...] = Field((), max_length=MAX_EXCLUDE_IDS)
    filter: BoundedFilter | None = None
    return_properties: bool = Field(False, strict=True)


nonpersonal_routes = APIRouter(prefix="/v1", tags=["recommendations"])


@nonpersonal_routes.get(
    "/popular",
    summary="Popular items",
    responses={key: value for key, value in LIST_RESPONSES.items() if key not in (400, 413)},
    response_model_exclude_unset=True,
    openapi_extra=needs(Scope.READ, Scope.BROWSER),
)
async def what_sells(
    services: AppServices,
    category: Annotated[
        str | None, Query(max_length=MAX_ID_CHARS, description="a category path; includes all categories below it")
    ] = None,
    count: Annotated[int, Query(ge=1)] = 10,
    window: Annotated[
        Literal["lately", "ever"], Query(description="which sales count: recent ones, or all")
    ] = "lately",
    return_properties: bool = False,
) -> SlateResponse:
    start_s = time.perf_counter()
    check_count(count, services.settings.recommend.max_count)
    active = services.ready()
    release = active.release
    condition = None if category is None else InCategory((category,))
    excluded = await services.unavailable_ids(active)
    with span("recommend", count=count, release_id=release.release_id):
        slate = popular(release.recommender, condition, count, excluded, lately=window == "lately")
    items = response_items(slate, release.recommender, return_properties)
    return to_response(slate, release.release_id, datetime.now(UTC), _since_ms(start_s), items)


@nonpersonal_routes.post(
    "/complements",
    summary="Items bought together with an item or basket",
    responses={**LIST_RESPONSES, **documented(HTTPStatus.NOT_FOUND)},
    response_model_exclude_unset=True,
    openapi_extra=needs(Scope.READ, Scope.BROWSER),
)
async def bought_with(
    request: Annotated[ComplementsRequest, Body(openapi_examples=COMPLEMENTS_EXAMPLES)], services: AppServices
) -> SlateResponse:
    start_s = time.perf_counter()
    check_count(request.count, services.settings.recommend.max_count)
    active = services.ready()
    release = active.release
    condition = None if request.filter is None else request.filter.to_filter()
    excluded = (await services.unavailable_ids(active)).union(item_ids_of(request.exclude_ids, release))
    item_ids = item_ids_of(request.item_ids, release)
    with span("recommend", count=request.count, release_id=release.release_id):
        slate = complements(release.recommender, item_ids, condition, request.count, excluded)
    items = response_items(slate, release.recommender, request.return_properties)
    return to_response(slate, release.release_id, datetime.now(UTC), _since_ms(start_s), items)


def _since_ms(start_s: float) -> float:
    return 1000 * (time.perf_counter() - start_s)
