"""The HTTP service as a FastAPI app. It knows the contract and the live release; it knows no Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from features.live.answer_log import AnswerLog
from features.live.database import LiveDatabase
from features.live.erasure_queue import ErasureQueue
from features.live.event_log import EventLog
from features.live.item_changes import ItemChanges
from recsys.config import Settings
from serving.ingress.access import AccessControl
from serving.ingress.problems import answer_problems
from serving.ingress.scopes import guard_routes
from serving.lists.recorder import AnswerRecorder
from serving.lists.service import ListService
from serving.live.context import LiveContext
from serving.live.event_writer import EventWriter
from serving.live.experiment_reports import ExperimentReports
from serving.releases.active import ActiveRelease, _ready
from serving.releases.item_map import ItemMaps
from serving.releases.replay import served_alone
from serving.routes.events import event_routes
from serving.routes.experiments import experiment_routes
from serving.routes.explain import explain_routes
from serving.routes.health import health, operations
from serving.routes.items import item_routes
from serving.routes.pages import page_routes
from serving.routes.recommend import recommendations
from serving.routes.users import erasure_routes
from serving.telemetry.access_log import AccessLog
from serving.telemetry.middleware import TelemetryMiddleware
from serving.watch.erased_users import ErasedUsersWatch
from serving.watch.keys import NO_KEYS, Keys


def lifespan_of(
    answering: ListService, writer: AnswerRecorder | None, moment: LiveContext | None
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


def create_app(
    live: Callable[[], ActiveRelease | None],
    settings: Settings,
    database: LiveDatabase | None = None,
    keys: Callable[[], Keys] = lambda: NO_KEYS,
    access_log: AccessLog | None = None,
    *,
    beside: Callable[[str], ActiveRelease | None] = lambda _: None,
    past: Callable[[str], Awaitable[Sequence[ActiveRelease]]] | None = None,
    forgotten: ErasedUsersWatch | None = None,
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
    moment = LiveContext(database, settings) if database is not None else None
    forgotten = forgotten or ErasedUsersWatch()
    writer = None if database is None else AnswerRecorder(AnswerLog(database), settings.serve, forgotten)
    # FastAPI's own spans hold paths and queries, in which ids of shoppers may stand; ours
    # (serving/telemetry/tracing.py) do not.
    silent = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)
    answering = ListService(lambda: _ready(live), beside, settings, moment, writer, forgotten)
    lifespan = lifespan_of(answering, writer, moment)
    app = FastAPI(title="recsys", version="1", description=DESCRIPTION, telemetry=silent, lifespan=lifespan)
    answer_problems(app)
    # first, as routes are tried in turn
    app.include_router(recommendations(live, settings, moment, answering, forgotten, ItemMaps(atlases)))
    app.include_router(health(live))
    app.include_router(operations())
    app.include_router(page_routes())
    if database is not None and writer is not None:
        app.include_router(explain_routes(AnswerLog(database), writer, past or served_alone(live), settings, forgotten))
        app.include_router(event_routes(EventWriter(EventLog(database)), settings, forgotten))
        app.include_router(erasure_routes(ErasureQueue(database), forgotten, writer))
        app.include_router(item_routes(ItemChanges(database)))
        app.include_router(experiment_routes(ExperimentReports(settings.experiments, database, lake)))
    routes = guard_routes(app)
    app.add_middleware(AccessControl, keys=keys, settings=settings.serve)
    app.add_middleware(TelemetryMiddleware, routes=routes, access_log=access_log, echo=echo_request_id)
    return app
