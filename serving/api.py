"""The HTTP service as a FastAPI app. It knows the contract and the live release; it knows no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, FastAPI

from recsys.config import Settings
from recsys.errors import QueryError
from serving.batch_routes import batch_routes
from serving.contract import (
    RECOMMEND_EXAMPLES,
    SIMILAR_EXAMPLES,
    SLATE_EXAMPLE,
    Alive,
    Ready,
    ReleaseResponse,
    SimilarRequest,
    SlateResponse,
)
from serving.gate import Gate
from serving.problems import ProblemError, answer_problems, documented
from serving.query import check_count, to_query, to_response
from serving.release_watch import Live
from serving.rules import ListRequest, wanted_count, with_rules
from serving.search_routes import search_routes
from serving.shelf_routes import shelf_routes
from serving.told import told_items

DESCRIPTION: Final = """Personal recommendations from behaviour, session and text, in one call.

Every error is an RFC 9457 problem (`application/problem+json`). Under overload the proxy answers 429 with
`Retry-After` and a line of plain text."""

SLATE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"example": SLATE_EXAMPLE}}},
    429: {"description": "Too many requests wait; come back after `Retry-After` seconds"},
}


def create_app(live: Callable[[], Live | None], settings: Settings) -> FastAPI:
    """The service.

    live: what to answer from at this moment, None before a first release is loaded. It is asked once for each request,
    so that a swap never shows half a release.
    """
    app = FastAPI(title="recsys", version="1", description=DESCRIPTION)
    app.add_middleware(Gate, api_keys=settings.serve.api_keys)
    answer_problems(app)
    app.include_router(_health(live))
    app.include_router(_recommendations(live, settings))
    return app


def _health(live: Callable[[], Live | None]) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="The process is alive")
    async def healthz() -> Alive:
        return Alive(status="alive")

    @routes.get("/readyz", summary="A release is loaded", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
    async def readyz() -> Ready:
        return Ready(status="ready", release_id=_ready(live).release.release_id)

    return routes


def _recommendations(live: Callable[[], Live | None], settings: Settings) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["recommendations"])
    refusals = documented(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )

    # The recommender runs on the event loop: a list takes about a millisecond of processor time, and handing it to a
    # thread would add a switch each way and no parallelism under the interpreter lock. Replicas are the parallelism.
    @routes.post(
        "/recommend",
        summary="A list for a shopper",
        responses={**SLATE_RESPONSES, **refusals},
        response_model_exclude_unset=True,
    )
    async def recommend(
        request: Annotated[ListRequest, Body(openapi_examples=RECOMMEND_EXAMPLES)],
    ) -> SlateResponse:
        start_s = time.perf_counter()
        now = datetime.now(UTC)
        count = wanted_count(request, settings.scenarios)
        check_count(count, settings.recommend.max_count)
        current = _ready(live)
        query = await to_query(request, current.texts, now, settings.embed.max_browsing_texts)
        query = with_rules(query, request, count, settings.scenarios)
        recommender = current.release.recommender
        slate = recommender.recommend([query])[0]
        items = told_items(slate, recommender, request.return_properties)
        return to_response(slate, current.release.release_id, now, 1000 * (time.perf_counter() - start_s), items)

    routes.include_router(batch_routes(recommend, refusals))
    routes.include_router(search_routes(recommend, {**SLATE_RESPONSES, **refusals}))
    routes.include_router(shelf_routes(lambda: _ready(live), settings, {**SLATE_RESPONSES, **refusals}))

    @routes.post(
        "/similar",
        summary="Items like one item",
        response_model_exclude_unset=True,
        responses={**SLATE_RESPONSES, **refusals, **documented(HTTPStatus.NOT_FOUND)},
    )
    async def similar(
        request: Annotated[SimilarRequest, Body(openapi_examples=SIMILAR_EXAMPLES)],
    ) -> SlateResponse:
        start_s = time.perf_counter()
        check_count(request.count, settings.recommend.max_count)
        release = _ready(live).release
        try:
            slate = release.recommender.similar(request.item_id, request.count, frozenset(request.exclude_ids))
        except QueryError as error:
            raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-item", str(error)) from None
        took_ms = 1000 * (time.perf_counter() - start_s)
        return to_response(slate, release.release_id, datetime.now(UTC), took_ms)

    @routes.get(
        "/release",
        summary="The release that answers now",
        responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
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


def _ready(live: Callable[[], Live | None]) -> Live:
    current = live()
    if current is None:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not-ready",
            "no release is loaded yet; publish one with `recsys nightly`",
            retry_s=2,
        )
    return current
