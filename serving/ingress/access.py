"""Access control: API keys and their limits, the size of a request body, and the number of concurrent lists.

All of it is checked before the body is read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.workspace.api_keys import ApiKey, digest
from features.workspace.api_keys import Scope as KeyScope
from recsys import config
from serving.ingress.browser_keys import FROM_BROWSER, address_of, is_browser_key
from serving.ingress.haproxy import BUSY
from serving.ingress.problems import problem_response
from serving.ingress.rate_limit import RateLimiter
from serving.ingress.scopes import GUARDED, KEY_NAME, ROUTE, Route
from serving.watch.keys import Keys

MAX_BODY_BYTES: Final = 4 * 2**20
BUSY_RETRY_S: Final = 1
TOO_LARGE: Final = f"request body exceeds {MAX_BODY_BYTES} bytes"


class AccessControl:
    """ASGI middleware between `TelemetryMiddleware` and the routes.

    Where keys are required, each path under /v1/ and each route that declares a scope needs one, sent as
    `Authorization: Bearer KEY` or `X-API-Key: KEY`. A path that no route declares is answered with 404 here.
    """

    def __init__(self, app: ASGIApp, keys: Callable[[], Keys], settings: config.ServeSettings) -> None:
        self.app = app
        self._keys = keys
        self._settings = settings
        self._limiter = RateLimiter(settings)
        self._max_lists = settings.max_concurrent_lists
        self._n_lists = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > MAX_BODY_BYTES:
            await problem_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request-entity-too-large", TOO_LARGE)(
                scope, receive, send
            )
            return
        keys, route = self._keys(), scope[ROUTE]
        if not keys.are_required or not _is_guarded(scope["path"], route):
            await self._forward(route, scope, receive, send)
            return
        key = keys.valid(digest(_credential(headers)), datetime.now(UTC)) or self._of_page(scope, keys)
        if key is None:
            await _unauthorized()(scope, receive, send)
            return
        refusal = _refusal(key, scope["method"], scope["path"], route)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope[KEY_NAME] = key.name
        scope[FROM_BROWSER] = route is not None and route.scopes.get(scope["method"]) not in key.scopes
        await self._forward_limited(key, route, scope, receive, send)

    def _of_page(self, scope: Scope, keys: Keys) -> ApiKey | None:
        """The browser key in the query, as `navigator.sendBeacon` can send no header; no other key belongs there."""
        (secret,) = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[:1]
        key = keys.valid(digest(secret.encode()), datetime.now(UTC)) if secret else None
        return key if key is not None and is_browser_key(key) else None

    async def _forward_limited(
        self, key: ApiKey, route: Route | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        address = address_of(scope, self._settings) if is_browser_key(key) else ""
        wait_s = self._limiter.admit(key, time.monotonic(), address)
        if wait_s > 0:
            await _too_many(key, wait_s)(scope, receive, send)
            return
        try:
            await self._forward(route, scope, receive, send)
        finally:
            self._limiter.release(key)

    async def _forward(self, route: Route | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to the routes; at the limit of concurrent lists, refuse a list with 429. Events and item
        changes are never refused: they wait for the disk."""
        if route is None or route.scopes.get(scope["method"]) != KeyScope.READ:
            await self.app(scope, _bounded(receive), send)
            return
        if self._n_lists >= self._max_lists:
            await _busy()(scope, receive, send)
            return
        self._n_lists += 1
        try:
            await self.app(scope, _bounded(receive), send)
        finally:
            self._n_lists -= 1


def _is_guarded(path: str, route: Route | None) -> bool:
    return path.startswith(GUARDED) or (route is not None and bool(route.scopes))


def _refusal(key: ApiKey, method: str, path: str, route: Route | None) -> Response | None:
    """The 404 or 403 for a request that this key may not make; None where it may."""
    if route is None:
        return problem_response(HTTPStatus.NOT_FOUND, "not-found", f"{method} {path}: no such route; see /docs")
    scope = route.scopes.get(method)
    if KeyScope.BROWSER in key.scopes and method in route.for_browsers:
        return None
    if scope is not None and scope not in key.scopes:
        return problem_response(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            f"{method} {route.template} needs a key with the scope {scope.value!r}, and {key.name!r} has "
            f"{', '.join(key.scopes)}; create one with `recsys keys create NAME --scope {scope.value}`",
        )
    return None


def _unauthorized() -> Response:
    return problem_response(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        "missing or invalid API key; send a valid one as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _too_many(key: ApiKey, wait_s: float) -> Response:
    retry_after_s = math.ceil(wait_s)
    return problem_response(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-requests",
        f"rate limit exceeded for API key {key.name!r} (requests per second, or requests at the same time); "
        f"retry after {retry_after_s} s",
        headers={"Retry-After": str(retry_after_s)},
    )


def _busy() -> Response:
    """Refuse before any other work, so that a refusal costs next to nothing and admitted requests are answered soon."""
    return problem_response(
        HTTPStatus.TOO_MANY_REQUESTS,
        "overloaded",
        BUSY,
        headers={"Retry-After": str(BUSY_RETRY_S)},
    )


def _credential(headers: Headers) -> bytes:
    """The API key of the request, empty where it has none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return key.encode("latin-1")  # the encoding in which Starlette reads headers: the bytes as sent


def _bounded(receive: Receive) -> Receive:
    """`receive` with a limit on the body's size, for clients that send no Content-Length."""
    n_bytes = 0

    async def counted() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > MAX_BODY_BYTES:
            # The only exception that FastAPI passes on while it reads a body; `answer_problems` handles it.
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
        return message

    return counted
