"""What operators ask of the service."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from features.workspace.api_keys import Scope
from serving.ingress.scopes import needs
from serving.metrics import MEDIA_TYPE, exposition


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
