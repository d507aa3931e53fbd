"""`/demo`, `/ops` and `/inspect`: the pages in `serving/web/`, sent from memory with headers that hold them to this
host.

The pages themselves are open, as they hold nothing of the shop; what they show they ask of the API, with a key where
one is needed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.ingress.problems import problem_response

FOLDER: Final = "web"
POINT_MAP: Final = "js/point_map.js"
MAP_SOURCE: Final = "explore/web/point_map.js"
MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Not by `mimetypes`, which asks the machine: with the wrong type a browser runs no module."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Always asked again, answered by 304: names carry no version, and a page must not run yesterday's module.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class WebFile:
    """A file as it is sent."""

    body: bytes
    media_type: str
    etag: str


def page_routes() -> APIRouter:
    """`/demo`, `/ops`, `/inspect`, and what they load from `/web/`."""
    routes = APIRouter(include_in_schema=False)
    found = web_files()

    @routes.api_route("/demo", methods=["GET", "HEAD"])
    async def demo(request: Request) -> Response:
        return _sent(request, found["demo.html"])

    @routes.api_route("/ops", methods=["GET", "HEAD"])
    async def ops(request: Request) -> Response:
        return _sent(request, found["ops.html"])

    @routes.api_route("/inspect", methods=["GET", "HEAD"])
    async def inspect(request: Request) -> Response:
        return _sent(request, found["inspect.html"])

    @routes.api_route("/web/{name:path}", methods=["GET", "HEAD"])
    async def web_file(request: Request, name: str) -> Response:
        if name not in found:
            return problem_response(HTTPStatus.NOT_FOUND, "not-found", f"/web/{name}: no such file")
        return _sent(request, found[name])

    return routes


def web_files() -> dict[str, WebFile]:
    """The files of the pages by their path below `/web/`: those of `serving/web/`, and the map that notebooks have,
    too."""
    return dict(_read(files("serving") / FOLDER, PurePosixPath())) | {POINT_MAP: _file(files("features") / MAP_SOURCE)}


def _read(folder: Traversable, below: PurePosixPath) -> list[tuple[str, WebFile]]:
    read = []
    for entry in folder.iterdir():
        path = below / entry.name
        if entry.is_dir():
            read += _read(entry, path)
        elif path.suffix in MEDIA_TYPES:
            read.append((str(path), _file(entry)))
    return read


def _file(entry: Traversable) -> WebFile:
    body = entry.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return WebFile(body, MEDIA_TYPES[PurePosixPath(entry.name).suffix], etag)


def _sent(request: Request, file: WebFile) -> Response:
    headers = HEADERS | {"ETag": file.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)
