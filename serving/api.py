"""The HTTP service as a FastAPI app. It knows nothing of Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware

from recsys.config import Settings
from serving.ingress.access import AccessControl
from serving.ingress.callers import CallerForms, WithoutRootPath, WithRootPath, cors_options
from serving.ingress.problems import DefectsAsProblems, answer_problems
from serving.ingress.scopes import guard_routes
from serving.routes.batch import batch_routes
from serving.routes.catalogue import catalogue_routes
from serving.routes.events import event_routes
from serving.routes.experiments import experiment_routes
from serving.routes.explain import explain_routes
from serving.routes.health import health_routes, metrics_routes
from serving.routes.inspect import inspect_routes
from serving.routes.items import item_routes
from serving.routes.nonpersonal import nonpersonal_routes
from serving.routes.pages import page_routes
from serving.routes.recommend import recommend_routes
from serving.routes.search import search_routes
from serving.routes.services import Services
from serving.routes.shoppers import shopper_routes
from serving.routes.users import user_routes
from serving.state import ServiceState
from serving.telemetry.middleware import TelemetryMiddleware

DESCRIPTION: Final = """Personal recommendations from behaviour, session and text, in one call.

Every error is an RFC 9457 problem (`application/problem+json`). Under overload the service answers 429 with
`Retry-After`."""

ROUTES: Final = (
    recommend_routes,  # first, as routes are tried in this order
    batch_routes,
    search_routes,
    nonpersonal_routes,
    catalogue_routes,
    shopper_routes,
    inspect_routes,
    health_routes,
    metrics_routes,
    page_routes,
)
DATABASE_ROUTES: Final = (explain_routes, event_routes, user_routes, item_routes, experiment_routes)
"""Only where there is a live database."""

NO_TELEMETRY: Final = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)
"""FastAPI's own spans hold paths and queries, which may contain ids of shoppers. Ours (serving/telemetry/tracing.py) do
not."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts the recorder. At the end the lists under way are finished and recorded, and the reads of the live database
    have ended."""
    services: Services = app.state.services
    database = services.database
    if database is not None:
        database.recorder.start()
    yield
    await asyncio.to_thread(services.lists.close)
    if database is not None:
        await asyncio.to_thread(database.recorder.close)
        await asyncio.to_thread(database.context.close)


def create_app(settings: Settings, state: ServiceState) -> FastAPI:
    """The service. Without a live database it has no routes for events, items, erasures, explanations and
    experiments."""
    app = FastAPI(
        title="recsys",
        version="1",
        description=DESCRIPTION,
        telemetry=NO_TELEMETRY,
        lifespan=lifespan,
        docs_url=None,  # ours is in `serving/routes/pages.py`
        redoc_url=None,
    )
    app.state.services = Services.of(settings, state)
    answer_problems(app)
    for routes in (*ROUTES, *(DATABASE_ROUTES if state.database is not None else ())):
        app.include_router(routes)
    guarded = guard_routes(app)
    root_path = settings.serve.root_path
    if root_path:  # innermost
        app.add_middleware(WithRootPath, root_path=root_path)
    app.add_middleware(DefectsAsProblems)
    app.add_middleware(AccessControl, keys=state.keys, settings=settings.serve)
    app.add_middleware(CallerForms)
    app.add_middleware(TelemetryMiddleware, routes=guarded, access_log=state.access_log, echo=state.echo_request_id)
    if settings.serve.cors_origins:  # outermost, so that preflights need no key and errors have the headers, too
        app.add_middleware(CORSMiddleware, **cors_options(settings.serve))
    if root_path:
        app.add_middleware(WithoutRootPath, root_path=root_path)
    return app
