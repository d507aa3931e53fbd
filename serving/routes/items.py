"""`PUT` and `DELETE /v1/items/{item_id}`, and `PUT /v1/items` for many products: changes between two nightly runs."""

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
from serving.ingress.problems import ProblemError
from serving.ingress.scopes import needs
from serving.routes.responses import BODY_PROBLEMS
from serving.routes.services import AppDatabase
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
from serving.schemas.partial_batch import split_entries

RETRY_S: Final = 2

ItemId = Annotated[Id, Path(description="the shop's id of the product")]


item_routes = APIRouter(prefix="/v1/items", tags=["items"])


@item_routes.put(
    "",
    summary="Update many products",
    description="As for one product, with up to 1,000 products in one transaction. Where some are invalid, the valid "
    "ones are stored and `errors` lists the others; 422 means that all are invalid.",
    responses={200: {"content": {"application/json": {"example": ITEMS_EXAMPLE}}}, **BODY_PROBLEMS},
    openapi_extra=needs(Scope.WRITE),
)
async def put_many(
    batch: Annotated[ItemBatch, Body(openapi_examples=ITEM_BATCH_EXAMPLES)], database: AppDatabase
) -> ItemsResponse:
    valid, errors = split_entries(batch.items, "items")
    changes = [ItemChange(item.item_id, item.given()) for item in valid.values()]
    version = await _store(database.item_changes, changes)
    ids = [valid[index].item_id if index in valid else None for index in range(len(batch.items))]
    return ItemsResponse(accepted=len(valid), item_ids=ids, errors=errors, version=version)


@item_routes.put(
    "/{item_id:path}",
    summary="Create or update a product",
    description="The response is sent when the change is stored. From then on, no replica shows an unavailable item. A "
    "new product with a title or a description is in lists within a second, ranked by its text; prices and titles "
    "change as quickly.",
    responses=BODY_PROBLEMS,
    openapi_extra=needs(Scope.WRITE),
)
async def put(
    item_id: ItemId, fields: Annotated[ItemFields, Body(openapi_examples=ITEM_EXAMPLES)], database: AppDatabase
) -> ItemResponse:
    version = await _store(database.item_changes, [ItemChange(item_id, fields.given())])
    return ItemResponse(item_id=item_id, version=version)


@item_routes.delete(
    "/{item_id:path}",
    summary="Remove a product",
    description="From then on, no replica shows it. A later PUT with `available` brings it back.",
    responses=BODY_PROBLEMS,
    openapi_extra=needs(Scope.WRITE),
)
async def delete(item_id: ItemId, database: AppDatabase) -> ItemResponse:
    version = await _store(database.item_changes, [ItemChange(item_id, {"available": False}, deleted=True)])
    return ItemResponse(item_id=item_id, version=version)


async def _store(item_changes: ItemChanges, changes: Sequence[ItemChange]) -> int:
    """Store the changes; returns their version."""
    try:
        return await asyncio.to_thread(item_changes.put, changes, datetime.now(UTC))
    except StoreError as error:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "item-not-stored",
            f"no change was stored: {error}; send the request again",
            retry_s=RETRY_S,
        ) from None
