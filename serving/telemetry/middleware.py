"""Outermost ASGI middleware: gives each request its id, and counts, times, traces and logs it."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.ingress.request_id import HEADER, REQUEST_ID, request_id_of
from serving.ingress.scopes import GUARDED, KEY_NAME, ROUTE, Routes
from serving.telemetry.access_log import AccessLog
from serving.telemetry.metrics import IN_FLIGHT, REQUESTS, SECONDS
from serving.telemetry.tracing import note_status, request_span

KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN: Final = "unknown"
"""Label of every path that no route answers: callers must not be able to create labels."""

CLIENT_CLOSED: Final = 499
"""Status of a request whose caller did not wait for the answer, as in nginx and Ray Serve."""


class TelemetryMiddleware:
    """access_log: None writes none. echo: whether to return the request id as a header; Ray Serve's server does that by
    itself."""

    def __init__(self, app: ASGIApp, routes: Routes, access_log: AccessLog | None, *, echo: bool) -> None:
        self.app = app
        self._routes = routes
        self._access_log = access_log
        self._echo = echo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start_s = perf_counter()
        request_id = request_id_of(next((value for name, value in scope["headers"] if name == HEADER), None))
        REQUEST_ID.set(request_id)
        route = self._routes.find(scope["path"], scope["method"])
        scope[ROUTE] = route
        status = 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._echo:
                    message["headers"] = [*message["headers"], (HEADER, request_id.encode())]
            await send(message)

        template = UNKNOWN if route is None else route.template
        method = scope["method"] if scope["method"] in KNOWN_METHODS else UNKNOWN
        IN_FLIGHT.inc()
        # The constant requests of load balancers and Prometheus would bury the other traces.
        is_traced = template.startswith(GUARDED)
        traced = request_span(method, template, scope["headers"], request_id) if is_traced else nullcontext()
        with traced as span:
            try:
                await self.app(scope, receive, observed)
            except asyncio.CancelledError:
                status = CLIENT_CLOSED
                raise
            finally:
                IN_FLIGHT.dec()
                note_status(span, status)
                self._record(scope, method, template, status, perf_counter() - start_s, request_id)

    def _record(self, scope: Scope, method: str, template: str, status: int, took_s: float, request_id: str) -> None:
        REQUESTS.labels(template, method, status).inc()
        SECONDS.labels(template).observe(took_s)
        if self._access_log is not None:
            self._access_log.write(method, template, status, 1000 * took_s, request_id, scope.get(KEY_NAME))
