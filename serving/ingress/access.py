"""Who may ask, and how much: keys and their limits, and bounds on the body and on the work at once.

All of it is checked before a body is read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.workspace.api_keys import ApiKey, digest
from features.workspace.api_keys import Scope as KeyScope
from recsys import config
from serving.ingress.haproxy import BUSY
from serving.ingress.problems import problem_response
from serving.ingress.rate_limit import RateLimiter
from serving.ingress.scopes import GUARDED, KEY_NAME, ROUTE, Route
from serving.watch.keys import Keys

MAX_BODY_BYTES: Final = 4 * 2**20
BUSY_RETRY_S: Final = 1
TOO_LARGE: Final = f"the body may hold {MAX_BODY_BYTES} bytes at most"


class AccessControl:
    """ASGI middleware in front of the routes, behind `Observer`.

    Where keys are required, a path under /v1/ and any route that declares a scope needs one, as `Authorization: Bearer
    KEY` or `X-API-Key: KEY`. What no route declares is never passed on.
    """

    def __init__(self, app: ASGIApp, keys: Callable[[], Keys], settings: config.ServeSettings) -> None:
        self.app = app
        self._keys = keys
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
            await self._passed(route, scope, receive, send)
            return
        key = keys.valid(digest(_key(headers)), datetime.now(UTC))
        if key is None:
            await _unauthorized()(scope, receive, send)
            return
        refusal = _refusal(key, scope["method"], scope["path"], route)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope[KEY_NAME] = key.name
        await self._limited(key, route, scope, receive, send)

    async def _limited(self, key: ApiKey, route: Route | None, scope: Scope, receive: Receive, send: Send) -> None:
        wait_s = self._limiter.admit(key, time.monotonic())
        if wait_s > 0:
            await _too_many(key, wait_s)(scope, receive, send)
            return
        try:
            await self._passed(route, scope, receive, send)
        finally:
            self._limiter.release(key)

    async def _passed(self, route: Route | None, scope: Scope, receive: Receive, send: Send) -> None:
        """To the routes; a list too many is refused. Events and changes of items are not: they wait for the disk."""
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
    """The answer to a request that may not go on with this key."""
    if route is None:
        return problem_response(HTTPStatus.NOT_FOUND, "not-found", f"{method} {path}: no such route; see /docs")
    scope = route.scopes.get(method)
    if scope is not None and scope not in key.scopes:
        return problem_response(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            f"{method} {route.template} needs a key with the scope {scope.value!r}, and {key.name!r} has "
            f"{', '.join(key.scopes)}; make one with `recsys keys create NAME --scope {scope.value}`",
        )
    return None


def _unauthorized() -> Response:
    return problem_response(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        "send a valid key as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _too_many(key: ApiKey, wait_s: float) -> Response:
    return problem_response(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-requests",
        f"the key {key.name!r} has used up its requests for now; come back after Retry-After seconds",
        headers={"Retry-After": str(math.ceil(wait_s))},
    )


def _busy() -> Response:
    """At the very door, so that a refusal costs next to nothing and those who are in are answered soon."""
    return problem_response(
        HTTPStatus.TOO_MANY_REQUESTS,
        "overloaded",
        BUSY,
        headers={"Retry-After": str(BUSY_RETRY_S)},
    )


def _key(headers: Headers) -> bytes:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return key.encode("latin-1")  # the encoding in which Starlette reads headers: the bytes as sent


def _bounded(receive: Receive) -> Receive:
    """`receive`, counting: for clients that do not announce the body's length."""
    n_bytes = 0

    async def counted() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > MAX_BODY_BYTES:
            # The one exception that FastAPI lets through while it reads a body; the routes' handler answers it.
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
        return message

    return counted
