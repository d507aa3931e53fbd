"""`PUT` and `DELETE /v1/items/{item_id}`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body, Path

from features.api_keys import Scope
from features.item_changes import ItemChange, ItemChanges
from recsys.errors import StoreError
from serving.contract import Id
from serving.item_contract import ITEM_EXAMPLES, ItemFields, ItemResponse
from serving.problems import ProblemError, documented
from serving.scopes import needs

RETRY_S: Final = 2
RESPONSES: Final = documented(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

ItemId = Annotated[Id, Path(description="the shop's id of the product")]


def item_routes(changes: ItemChanges) -> APIRouter:
    """The routes through which products change between two nights."""
    routes = APIRouter(prefix="/v1/items", tags=["items"])

    @routes.put(
        "/{item_id:path}",
        summary="A product's price, stock or text",
        description="The answer comes when the change is on the disk. An item that is not available is in no list from "
        "then on, on any replica. A new product with a title or a description is in lists within a second, placed by "
        "its text; prices and titles change as soon.",
        responses=RESPONSES,
        openapi_extra=needs(Scope.WRITE),
    )
    async def put(item_id: ItemId, fields: Annotated[ItemFields, Body(openapi_examples=ITEM_EXAMPLES)]) -> ItemResponse:
        return await _stored(changes, ItemChange(item_id, fields.given()))

    @routes.delete(
        "/{item_id:path}",
        summary="A product that is sold no more",
        description="It is in no list from then on, on any replica. A later PUT with `available` brings it back.",
        responses=RESPONSES,
        openapi_extra=needs(Scope.WRITE),
    )
    async def delete(item_id: ItemId) -> ItemResponse:
        return await _stored(changes, ItemChange(item_id, {"available": False}, deleted=True))

    return routes


async def _stored(changes: ItemChanges, change: ItemChange) -> ItemResponse:
    try:
        version = await asyncio.to_thread(changes.put, [change], datetime.now(UTC))
    except StoreError as error:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "item-not-stored",
            f"nothing was stored: {error}; send it again",
            retry_s=RETRY_S,
        ) from None
    return ItemResponse(item_id=change.item_id, version=version)
