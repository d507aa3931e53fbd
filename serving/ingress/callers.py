"""What browsers, monitors and simple clients send: HEAD, calls from other origins, and bodies without a JSON type."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys import config
from serving.ingress.problems import problem_response

BEACON_PATH: Final = "/v1/events"
"""Where `navigator.sendBeacon` may post: it sends text as text/plain."""

CORS_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
CORS_HEADERS: Final = ("authorization", "content-type", "traceparent", "x-api-key", "x-request-id")
CORS_EXPOSED: Final = ("retry-after", "x-request-id")
PREFLIGHT_S: Final = 600
"""How long a browser may remember the answer to a preflight request."""

_JSON: Final = b"application/json"


def cors_options(settings: config.ServeSettings) -> dict[str, Any]:
    """Arguments of Starlette's CORSMiddleware. Cookies are never read, so credentials are not allowed."""
    return {
        "allow_origins": settings.cors_origins,
        "allow_methods": CORS_METHODS,
        "allow_headers": CORS_HEADERS,
        "expose_headers": CORS_EXPOSED,
        "max_age": PREFLIGHT_S,
    }


class CallerForms:
    """ASGI middleware: a HEAD request is answered as GET without the body; a body that is not sent as JSON is read as
    JSON where it has no type, and at /v1/events as plain text, and refused with 415 elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] == "HEAD":
            await self.app({**scope, "method": "GET"}, receive, _without_body(send))
        elif scope["method"] in ("POST", "PUT") and scope["path"].startswith("/v1/"):
            await self._with_json(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _with_json(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        given = headers.get("content-type", "")
        kind = given.partition(";")[0].strip().lower()
        if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
            await self.app(scope, receive, send)
        elif not kind or (kind == "text/plain" and scope["path"] == BEACON_PATH):
            others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
            await self.app({**scope, "headers": [*others, (b"content-type", _JSON)]}, receive, send)
        elif headers.get("content-length") == "0":
            await self.app(scope, receive, send)
        else:
            detail = f"the body is {kind[:80]}; send JSON, with the header content-type: application/json"
            await problem_response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)(
                scope, receive, send
            )


class WithoutRootPath:
    """ASGI middleware: the path as the other middlewares know it, whether or not the proxy in front has stripped its
    own."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self._root_path}/"):
            scope = {**scope, "path": scope["path"][len(self._root_path) :] or "/"}
        await self.app(scope, receive, send)


class WithRootPath:
    """ASGI middleware: the path as callers see it, for redirects and the API's description."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": self._root_path + scope["path"], "root_path": self._root_path}
        await self.app(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
