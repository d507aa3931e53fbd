"""The files of the pages `/demo`, `/ops` and `/inspect`, read into memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

FOLDER: Final = "web"
POINT_MAP: Final = "js/point_map.js"
MAP_SOURCE: Final = "explore/web/point_map.js"
SWAGGER: Final = ("swagger-ui-bundle.js", "swagger-ui.css")
"""Files of Swagger UI, of which fastapi-swagger brings a copy; below `docs/`."""
MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Not from `mimetypes`, which depends on the machine: a browser runs no module of the wrong type."""


@dataclass(frozen=True)
class WebFile:
    """A file as it is sent."""

    body: bytes
    media_type: str
    etag: str


def web_files() -> dict[str, WebFile]:
    """The files of `serving/web/` by their path below `/web/`, the map's module, which notebooks use, too, and those of
    the API's description."""
    swagger = files("fastapi_swagger") / "resources"
    return (
        dict(_read(files("serving") / FOLDER, PurePosixPath()))
        | {POINT_MAP: _file(files("features") / MAP_SOURCE)}
        | {f"docs/{name}": _file(swagger / name) for name in SWAGGER}
    )


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
