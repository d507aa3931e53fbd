"""`POST /v1/search`: words in titles and the meaning of texts together, ordered for the shopper who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body
from starlette.responses import Response

from features.workspace.api_keys import Scope
from serving.ingress.scopes import needs
from serving.lists.conversion import sent
from serving.schemas.list_options import ListRequest, SearchRequest
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


def search_routes(
    recommend: Callable[[ListRequest], Awaitable[SlateResponse]], responses: Mapping[int | str, dict[str, Any]]
) -> APIRouter:
    """recommend: what answers /v1/recommend; responses: those that a list may have, documented."""
    routes = APIRouter()

    @routes.post(
        "/search",
        summary="What a shopper looks for",
        response_model=SlateResponse,
        responses=dict(responses),
        openapi_extra=needs(Scope.READ),
    )
    async def search(request: Annotated[SearchRequest, Body(openapi_examples=SEARCH_EXAMPLES)]) -> Response:
        return sent(await recommend(request))

    return routes
