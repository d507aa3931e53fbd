"""The pages `/demo`, `/ops`, `/inspect` and `/docs` and the files that they load, sent from memory.

Anyone may load the pages, as they hold no data of the shop. They read data through the API, with a key where one is
needed. Their headers keep them to this host.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response

from serving.ingress.problems import problem_response
from serving.routes.services import AppServices
from serving.routes.web_files import WebFile

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Browsers ask each time and usually get 304: file names carry no version, and a page must not run old modules.
    "Cache-Control": "no-cache",
}

page_routes = APIRouter(include_in_schema=False)


@page_routes.api_route("/demo", methods=["GET", "HEAD"])
async def demo(request: Request, services: AppServices) -> Response:
    return _file_response(request, services.web_files["demo.html"])


@page_routes.api_route("/ops", methods=["GET", "HEAD"])
async def ops(request: Request, services: AppServices) -> Response:
    return _file_response(request, services.web_files["ops.html"])


@page_routes.api_route("/inspect", methods=["GET", "HEAD"])
async def inspect(request: Request, services: AppServices) -> Response:
    return _file_response(request, services.web_files["inspect.html"])


@page_routes.api_route("/docs", methods=["GET", "HEAD"])
async def docs() -> Response:
    """The API's description; its scripts come from this service, so that it works offline."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="recsys",
        swagger_js_url="web/docs/swagger-ui-bundle.js",
        swagger_css_url="web/docs/swagger-ui.css",
        swagger_favicon_url="web/icon.svg",
    )


@page_routes.api_route("/web/{name:path}", methods=["GET", "HEAD"])
async def web_file(request: Request, name: str, services: AppServices) -> Response:
    file = services.web_files.get(name)
    if file is None:
        return problem_response(HTTPStatus.NOT_FOUND, "not-found", f"/web/{name}: no such file")
    return _file_response(request, file)


def _file_response(request: Request, file: WebFile) -> Response:
    headers = HEADERS | {"ETag": file.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)
