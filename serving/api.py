"""The HTTP service as a FastAPI app. It knows the contract and the live release; it knows no Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.responses import Response

from features.live.answer_log import AnswerLog
from features.live.database import LiveDatabase
from features.live.erasure_queue import ErasureQueue
from features.live.event_log import EventLog
from features.live.item_changes import ItemChanges
from features.workspace.api_keys import Scope
from recsys.config import Settings
from serving.access_log import AccessLog
from serving.batch_routes import batch_routes
from serving.catalogue_routes import catalogue_routes
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
from serving.erasure_routes import erasure_routes
from serving.event_routes import event_routes
from serving.experiment_routes import experiment_routes
from serving.explain_routes import explain_routes
from serving.forgotten import Forgotten
from serving.ingress.access import Gate
from serving.ingress.problems import answer_problems, documented
from serving.ingress.scopes import guard_routes, needs
from serving.inspect_routes import inspect_routes
from serving.item_routes import item_routes
from serving.key_watch import NO_KEYS, Keys
from serving.lists.conversion import check_count, sent, to_response, told_items
from serving.lists.recorder import AnswerWriter
from serving.lists.service import Answering
from serving.live.context import Moment
from serving.live.event_writer import EventWriter
from serving.live.experiment_reports import ExperimentReports
from serving.observer import Observer
from serving.operations import operations
from serving.page_routes import page_routes
from serving.releases.active import Live, _ready
from serving.releases.item_map import ItemMaps
from serving.releases.replay import served_alone
from serving.rules import ListRequest
from serving.search_routes import search_routes
from serving.shelf_routes import shelf_routes
from serving.shopper_routes import shopper_routes
from serving.tracing import span


def lifespan_of(
    answering: Answering, writer: AnswerWriter | None, moment: Moment | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The writer starts with the service; at its end the last lists are made, what waits is written, and nothing is
    read any more."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if writer is not None:
            writer.start()
        yield
        for ending in (answering, writer, moment):
            if ending is not None:
                await asyncio.to_thread(ending.close)

    return lifespan


DESCRIPTION: Final = """Personal recommendations from behaviour, session and text, in one call.

Every error is an RFC 9457 problem (`application/problem+json`), a 429 with `Retry-After` under overload among them."""

NO_LAKE: Final = Path("no-lake")
"""A folder that does not exist reads as an empty lake."""

NO_ATLASES: Final = Path("no-atlases")

SLATE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"example": SLATE_EXAMPLE}}},
}


def create_app(
    live: Callable[[], Live | None],
    settings: Settings,
    database: LiveDatabase | None = None,
    keys: Callable[[], Keys] = lambda: NO_KEYS,
    access_log: AccessLog | None = None,
    *,
    beside: Callable[[str], Live | None] = lambda _: None,
    past: Callable[[str], Awaitable[Sequence[Live]]] | None = None,
    forgotten: Forgotten | None = None,
    lake: Path = NO_LAKE,
    atlases: Path = NO_ATLASES,
    echo_request_id: bool = True,
) -> FastAPI:
    """The service.

    live: what to answer from at this moment, None before a first release is loaded. It is asked once for each request,
    so that a swap never shows half a release. database: where shoppers' events and changes of items go; without it
    none are taken, and no list can be explained. keys: the API keys that count at this moment. beside: a release that
    an arm of an experiment is served from, None while it is not loaded; past: any release, as `PastReleases.get`, by
    default the live one alone. forgotten: the shoppers of whom nothing may be used; lake: its folder, whose events
    reports of experiments count too; atlases: its folder of items' places on the map. echo_request_id: False where
    the server in front sends request ids back by itself.
    """
    moment = Moment(database, settings) if database is not None else None
    forgotten = forgotten or Forgotten()
    writer = None if database is None else AnswerWriter(AnswerLog(database), settings.serve, forgotten)
    # FastAPI's own spans hold paths and queries, in which ids of shoppers may stand; ours (serving/tracing.py) do not.
    silent = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)
    answering = Answering(lambda: _ready(live), beside, settings, moment, writer, forgotten)
    lifespan = lifespan_of(answering, writer, moment)
    app = FastAPI(title="recsys", version="1", description=DESCRIPTION, telemetry=silent, lifespan=lifespan)
    answer_problems(app)
    # first, as routes are tried in turn
    app.include_router(_recommendations(live, settings, moment, answering, forgotten, ItemMaps(atlases)))
    app.include_router(_health(live))
    app.include_router(operations())
    app.include_router(page_routes())
    if database is not None and writer is not None:
        app.include_router(explain_routes(AnswerLog(database), writer, past or served_alone(live), settings, forgotten))
        app.include_router(event_routes(EventWriter(EventLog(database)), settings, forgotten))
        app.include_router(erasure_routes(ErasureQueue(database), forgotten, writer))
        app.include_router(item_routes(ItemChanges(database)))
        app.include_router(experiment_routes(ExperimentReports(settings.experiments, database, lake)))
    routes = guard_routes(app)
    app.add_middleware(Gate, keys=keys, settings=settings.serve)
    app.add_middleware(Observer, routes=routes, access_log=access_log, echo=echo_request_id)  # around the gate
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


def _recommendations(
    live: Callable[[], Live | None],
    settings: Settings,
    moment: Moment | None,
    answering: Answering,
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

    async def gone(current: Live) -> frozenset[str]:
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
