"""`POST /v1/search`: matches title words and the meaning of texts, ordered for the shopper."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from features.workspace.api_keys import Scope
from serving.ingress.browser_keys import check_visitor
from serving.ingress.scopes import needs
from serving.lists.response import json_response
from serving.routes.responses import LIST_RESPONSES
from serving.routes.services import services_of
from serving.schemas.list_options import SearchRequest
from serving.schemas.lists import SlateResponse

SEARCH_EXAMPLES: Final[dict[str, Any]] = {
    "words": {"value": {"text": "quiet keyboard"}},
    "a shopper's search on a page of results": {
        "value": {
            "text": "trail running shoes",
            "user_id": "u-1042",
            "scenario": "search",
            "filter": {"price": {"max": 120}},
            "return_properties": True,
        }
    },
}

search_routes = APIRouter(prefix="/v1", tags=["recommendations"])


@search_routes.post(
    "/search",
    summary="Search results for a shopper",
    response_model=SlateResponse,
    responses=LIST_RESPONSES,
    openapi_extra=needs(Scope.READ, Scope.BROWSER),
)
async def search(
    request: Annotated[SearchRequest, Body(openapi_examples=SEARCH_EXAMPLES)], http_request: Request
) -> Response:
    check_visitor(http_request.scope, request.user_id)
    return json_response(await services_of(http_request).lists.serve(request))
