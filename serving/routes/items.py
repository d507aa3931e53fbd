"""`PUT` and `DELETE /v1/items/{item_id}`, and `PUT /v1/items` for many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body, Path

from features.live.item_changes import ItemChange, ItemChanges
from features.workspace.api_keys import Scope
from recsys.errors import StoreError
from serving.ingress.problems import ProblemError, documented
from serving.ingress.scopes import needs
from serving.schemas.items import (
    ITEM_BATCH_EXAMPLES,
    ITEM_EXAMPLES,
    ITEMS_EXAMPLE,
    ItemBatch,
    ItemFields,
    ItemResponse,
    ItemsResponse,
)
from serving.schemas.lists import Id
from serving.schemas.partial_batch import sorted_out

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
        "",
        summary="Prices, stock or texts of many products",
        description="As for one product, with up to 1,000 in one transaction. Of a mixed batch the good are stored and "
        "the others listed; 422 says that none was good.",
        responses={200: {"content": {"application/json": {"example": ITEMS_EXAMPLE}}}, **RESPONSES},
        openapi_extra=needs(Scope.WRITE),
    )
    async def put_many(batch: Annotated[ItemBatch, Body(openapi_examples=ITEM_BATCH_EXAMPLES)]) -> ItemsResponse:
        good, errors = sorted_out(batch.items, "items")
        version = await _stored(changes, [ItemChange(item.item_id, item.given()) for item in good.values()])
        ids = [good[index].item_id if index in good else None for index in range(len(batch.items))]
        return ItemsResponse(accepted=len(good), item_ids=ids, errors=errors, version=version)

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
        version = await _stored(changes, [ItemChange(item_id, fields.given())])
        return ItemResponse(item_id=item_id, version=version)

    @routes.delete(
        "/{item_id:path}",
        summary="A product that is sold no more",
        description="It is in no list from then on, on any replica. A later PUT with `available` brings it back.",
        responses=RESPONSES,
        openapi_extra=needs(Scope.WRITE),
    )
    async def delete(item_id: ItemId) -> ItemResponse:
        version = await _stored(changes, [ItemChange(item_id, {"available": False}, deleted=True)])
        return ItemResponse(item_id=item_id, version=version)

    return routes


async def _stored(changes: ItemChanges, new: Sequence[ItemChange]) -> int:
    """The version of the changes, which are on the disk then."""
    try:
        return await asyncio.to_thread(changes.put, new, datetime.now(UTC))
    except StoreError as error:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "item-not-stored",
            f"nothing was stored: {error}; send it again",
            retry_s=RETRY_S,
        ) from None
