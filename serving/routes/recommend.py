"""Lists for shoppers, items like one item, and the release that answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body
from starlette.responses import Response

from features.workspace.api_keys import Scope
from recsys.config import Settings
from serving.ingress.problems import documented
from serving.ingress.scopes import needs
from serving.lists.conversion import check_count, sent, to_response, told_items
from serving.lists.service import ListService
from serving.live.context import LiveContext
from serving.releases.active import ActiveRelease, _ready
from serving.releases.item_map import ItemMaps
from serving.routes.batch import batch_routes
from serving.routes.catalogue import catalogue_routes
from serving.routes.inspect import inspect_routes
from serving.routes.nonpersonal import shelf_routes
from serving.routes.search import search_routes
from serving.routes.shoppers import shopper_routes
from serving.schemas.list_options import ListRequest
from serving.schemas.lists import (
    RECOMMEND_EXAMPLES,
    SIMILAR_EXAMPLES,
    SLATE_RESPONSES,
    ReleaseResponse,
    SimilarRequest,
    SlateResponse,
)
from serving.telemetry.tracing import span


def recommendations(
    live: Callable[[], ActiveRelease | None],
    settings: Settings,
    moment: LiveContext | None,
    answering: ListService,
    forgotten: Container[object],
    maps: ItemMaps,
) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["recommendations"])
    refusals = documented(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )

    @routes.post(
        "/recommend",
        summary="A list for a shopper",
        response_model=SlateResponse,
        responses={**SLATE_RESPONSES, **refusals},
        openapi_extra=needs(Scope.READ),
    )
    async def recommended(request: Annotated[ListRequest, Body(openapi_examples=RECOMMEND_EXAMPLES)]) -> Response:
        return sent(await answering.answer(request))

    async def gone(current: ActiveRelease) -> frozenset[str]:
        return await moment.gone(current.release.manifest) if moment is not None else frozenset()

    routes.include_router(catalogue_routes(lambda: _ready(live), gone))
    routes.include_router(shopper_routes(lambda: _ready(live), forgotten))
    routes.include_router(inspect_routes(lambda: _ready(live), answering.asked_by, maps, forgotten))
    routes.include_router(batch_routes(answering.answer, refusals))
    routes.include_router(search_routes(answering.answer, {**SLATE_RESPONSES, **refusals}))
    routes.include_router(shelf_routes(lambda: _ready(live), gone, settings, {**SLATE_RESPONSES, **refusals}))

    @routes.post(
        "/similar",
        summary="Items like one item",
        response_model_exclude_unset=True,
        responses={**SLATE_RESPONSES, **refusals, **documented(HTTPStatus.NOT_FOUND)},
        openapi_extra=needs(Scope.READ),
    )
    async def similar(
        request: Annotated[SimilarRequest, Body(openapi_examples=SIMILAR_EXAMPLES)],
    ) -> SlateResponse:
        start_s = time.perf_counter()
        check_count(request.count, settings.recommend.max_count)
        current = _ready(live)
        release = current.release
        excluded = (await gone(current)).union(request.exclude_ids)
        with span("recommend", count=request.count, release_id=release.release_id):
            slate = release.recommender.similar(request.item_id, request.count, excluded)
        items = told_items(slate, release.recommender, request.return_properties)
        took_ms = 1000 * (time.perf_counter() - start_s)
        return to_response(slate, release.release_id, datetime.now(UTC), took_ms, items)

    @routes.get(
        "/release",
        summary="The release that answers now",
        responses=documented(HTTPStatus.SERVICE_UNAVAILABLE),
        openapi_extra=needs(Scope.READ),
    )
    async def release() -> ReleaseResponse:
        manifest = _ready(live).release.manifest
        return ReleaseResponse(
            release_id=manifest.release_id,
            as_of=manifest.as_of,
            rows=dict(manifest.rows),
            metrics=dict(manifest.metrics),
            encoder_id=manifest.encoder_id,
        )

    return routes
