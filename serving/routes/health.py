"""`GET /healthz`, `GET /readyz` and `GET /metrics`: whether the service is alive and ready, and its metrics."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import Response

from features.workspace.api_keys import Scope
from serving.ingress.problems import documented
from serving.ingress.scopes import needs
from serving.routes.services import AppServices
from serving.schemas.lists import Alive, Ready
from serving.telemetry.metrics import MEDIA_TYPE, exposition

health_routes = APIRouter(tags=["health"])
metrics_routes = APIRouter(tags=["operations"])


@health_routes.get("/healthz", summary="Whether the process is alive")
async def healthz() -> Alive:
    return Alive(status="alive")


@health_routes.get(
    "/readyz", summary="Whether a release is loaded", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE)
)
async def readyz(services: AppServices) -> Ready:
    return Ready(status="ready", release_id=services.ready().release.release_id)


# A plain function, which FastAPI runs in a thread: adding up the values of all replicas takes milliseconds.
@metrics_routes.get(
    "/metrics",
    summary="Metrics of all replicas of this machine, for Prometheus",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    openapi_extra=needs(Scope.READ),
)
def metrics() -> Response:
    return Response(exposition(), media_type=MEDIA_TYPE)
