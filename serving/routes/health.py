"""Whether the service is alive and ready, and its metrics."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import Response

from features.workspace.api_keys import Scope
from serving.ingress.problems import documented
from serving.ingress.scopes import needs
from serving.releases.active import ActiveRelease, _ready
from serving.schemas.lists import (
    Alive,
    Ready,
)
from serving.telemetry.metrics import MEDIA_TYPE, exposition


def operations() -> APIRouter:
    """`GET /metrics`."""
    routes = APIRouter(tags=["operations"])

    # In a thread: adding up every replica's values takes milliseconds, which no shopper shall wait for.
    @routes.get(
        "/metrics",
        summary="What all replicas of this machine counted, for Prometheus",
        response_class=Response,
        responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
        openapi_extra=needs(Scope.READ),
    )
    def metrics() -> Response:
        return Response(exposition(), media_type=MEDIA_TYPE)

    return routes


def health(live: Callable[[], ActiveRelease | None]) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="The process is alive")
    async def healthz() -> Alive:
        return Alive(status="alive")

    @routes.get("/readyz", summary="A release is loaded", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
    async def readyz() -> Ready:
        return Ready(status="ready", release_id=_ready(live).release.release_id)

    return routes
