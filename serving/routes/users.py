"""`DELETE /v1/users/{user_id}`: the erasure of a shopper."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel

from features.live.erasure_queue import ErasureRequest
from features.workspace.api_keys import Scope
from recsys.errors import StoreError
from serving.ingress.problems import ProblemError, documented
from serving.ingress.scopes import needs
from serving.lists.ids import new_id
from serving.routes.services import AppDatabase, AppServices, DatabaseServices
from serving.schemas.lists import Id

RETRY_S: Final = 2
EXAMPLE: Final[dict[str, Any]] = {
    "request_id": "019a3f5c2b7e7c41a0f2d1c5e8b94a60",
    "requested_at": "2026-01-02T09:30:00.123456Z",
}


class ErasureResponse(BaseModel):
    """A pending erasure; its receipt names the `request_id`."""

    request_id: str
    requested_at: datetime


user_routes = APIRouter(prefix="/v1/users", tags=["shoppers"])


@user_routes.delete(
    "/{user_id:path}",
    status_code=HTTPStatus.ACCEPTED,
    summary="Erase a shopper",
    description="At once, the shopper's events and served lists are deleted from the live database, and none of their "
    "data is used any more: they get the lists of a guest, and their events are refused. Other replicas follow within "
    "`serve.release_poll_s`. The next nightly run, or `recsys erase --queued`, erases everything else and writes a "
    "receipt. A repeated call while the erasure is pending returns the same request. An unknown shopper is no error.",
    responses={
        202: {"content": {"application/json": {"example": EXAMPLE}}},
        **documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
    },
    openapi_extra=needs(Scope.ADMIN),
)
async def erase(
    user_id: Annotated[Id, Path(description="the shop's id of the shopper")],
    services: AppServices,
    database: AppDatabase,
) -> ErasureResponse:
    now = datetime.now(UTC)
    user_ids = list(dict.fromkeys((user_id, services.user_ids.stored(user_id))))  # an address, and what stands for it
    for known_id in user_ids:
        services.erased_users.add(known_id)  # first: none of their lists is recorded from here on
    try:
        request = await asyncio.to_thread(_queue_erasures, database, user_ids, now)
    except StoreError as error:
        for known_id in user_ids:
            services.erased_users.discard(known_id)
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "erasure-not-stored",
            f"the erasure was not queued: {error}; send the request again",
            retry_s=RETRY_S,
        ) from None
    return ErasureResponse(request_id=request.request_id, requested_at=request.requested_at)


def _queue_erasures(database: DatabaseServices, user_ids: Sequence[str], now: datetime) -> ErasureRequest:
    """Returns the request of the last id."""
    database.recorder.flush()  # lists that wait to be recorded are deleted with the others
    return [database.erasure_queue.add(user_id, new_id(now), now) for user_id in user_ids][-1]
