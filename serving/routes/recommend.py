"""`POST /v1/recommend`, `POST /v1/similar` and `GET /v1/release`."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from features.workspace.api_keys import Scope
from serving.ingress.browser_keys import check_visitor
from serving.ingress.problems import documented
from serving.ingress.scopes import needs
from serving.lists.aliases import item_ids_of
from serving.lists.request import check_count
from serving.lists.response import json_response, response_items, to_response
from serving.routes.responses import LIST_RESPONSES
from serving.routes.services import AppServices, services_of
from serving.schemas.list_options import ListRequest
from serving.schemas.lists import (
    RECOMMEND_EXAMPLES,
    SIMILAR_EXAMPLES,
    ReleaseResponse,
    SimilarRequest,
    SlateResponse,
    TextsRead,
)
from serving.telemetry.tracing import span

recommend_routes = APIRouter(prefix="/v1", tags=["recommendations"])


@recommend_routes.post(
    "/recommend",
    summary="Recommendations for a shopper",
    response_model=SlateResponse,
    responses=LIST_RESPONSES,
    openapi_extra=needs(Scope.READ, Scope.BROWSER),
)
async def recommended(
    request: Annotated[ListRequest, Body(openapi_examples=RECOMMEND_EXAMPLES)], http_request: Request
) -> Response:
    check_visitor(http_request.scope, request.user_id)
    return json_response(await services_of(http_request).lists.serve(request))


@recommend_routes.post(
    "/similar",
    summary="Items similar to an item",
    response_model_exclude_unset=True,
    responses={**LIST_RESPONSES, **documented(HTTPStatus.NOT_FOUND)},
    openapi_extra=needs(Scope.READ, Scope.BROWSER),
)
async def similar(
    request: Annotated[SimilarRequest, Body(openapi_examples=SIMILAR_EXAMPLES)], services: AppServices
) -> SlateResponse:
    start_s = time.perf_counter()
    check_count(request.count, services.settings.recommend.max_count)
    active = services.ready()
    release = active.release
    excluded = (await services.unavailable_ids(active)).union(item_ids_of(request.exclude_ids, release))
    with span("recommend", count=request.count, release_id=release.release_id):
        slate = release.recommender.similar(release.item_id_of(request.item_id), request.count, excluded)
    items = response_items(slate, release.recommender, request.return_properties)
    took_ms = 1000 * (time.perf_counter() - start_s)
    return to_response(slate, release.release_id, datetime.now(UTC), took_ms, items)


@recommend_routes.get(
    "/release",
    summary="The release that answers now",
    responses=documented(HTTPStatus.SERVICE_UNAVAILABLE),
    openapi_extra=needs(Scope.READ),
)
async def release(services: AppServices) -> ReleaseResponse:
    active = services.ready().release
    manifest, reading = active.manifest, active.reading
    return ReleaseResponse(
        release_id=manifest.release_id,
        as_of=manifest.as_of,
        rows=dict(manifest.rows),
        metrics=dict(manifest.metrics),
        encoder_id=manifest.encoder_id,
        texts=None if reading is None else TextsRead.model_validate(asdict(reading)),
    )
