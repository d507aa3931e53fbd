"""Who may ask, and how much at once: API keys and a bound on the body, checked before a body is read."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.problems import problem_response

MAX_BODY_BYTES: Final = 4 * 2**20
TOO_LARGE: Final = f"the body may hold {MAX_BODY_BYTES} bytes at most"
GUARDED: Final = "/v1/"
"""Health checks and the API's description stay open: load balancers and browsers carry no key."""


class Gate:
    """ASGI middleware in front of the routes.

    With keys, a path under /v1/ needs one, as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Only the keys'
    SHA-256 stays in memory, and comparison takes the same time whatever matches.
    """

    def __init__(self, app: ASGIApp, api_keys: Sequence[str]) -> None:
        self.app = app
        # A blank is no key: an empty variable must not open the door to an empty header.
        self._digests = tuple(_digest(key.strip().encode()) for key in api_keys if key.strip())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["path"], headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self.app(scope, _bounded(receive), send)

    def _refusal(self, path: str, headers: Headers) -> Response | None:
        if self._digests and path.startswith(GUARDED) and not self._knows(headers):
            return problem_response(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "send a valid key as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > MAX_BODY_BYTES:
            return problem_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request-entity-too-large", TOO_LARGE)
        return None

    def _knows(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        given = _digest(key.encode("latin-1"))  # the encoding in which Starlette reads headers: the bytes as sent
        # Every digest is compared: an early exit would tell by its time which key matched.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return any(matches)


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


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
