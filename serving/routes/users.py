"""`DELETE /v1/users/{user_id}`: a shopper who is to be erased."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel

from features.live.erasure_queue import ErasureQueue, ErasureRequest
from features.workspace.api_keys import Scope
from recsys.errors import StoreError
from serving.ingress.problems import ProblemError, documented
from serving.ingress.scopes import needs
from serving.lists.ids import new_id
from serving.lists.recorder import AnswerRecorder
from serving.schemas.lists import Id
from serving.watch.erased_users import ErasedUsersWatch

RETRY_S: Final = 2
EXAMPLE: Final[dict[str, Any]] = {
    "request_id": "019a3f5c2b7e7c41a0f2d1c5e8b94a60",
    "requested_at": "2026-01-02T09:30:00.123456Z",
}


class ErasureResponse(BaseModel):
    """`request_id` stands in the receipt of the erasure."""

    request_id: str
    requested_at: datetime


def erasure_routes(queue: ErasureQueue, forgotten: ErasedUsersWatch, writer: AnswerRecorder) -> APIRouter:
    """forgotten: told at once, so that this replica's next list is a guest's."""
    routes = APIRouter(prefix="/v1/users", tags=["shoppers"])

    @routes.delete(
        "/{user_id:path}",
        status_code=HTTPStatus.ACCEPTED,
        summary="Erase a shopper",
        description="At once: their events and answered lists leave the live database, and nothing of them is used: "
        "they are answered as a guest is, and their events are refused; by other replicas within "
        "`serve.release_poll_s`. The next night, or `recsys erase --queued`, erases everything else and leaves a "
        "receipt. Asked again, a shopper who waits has the same request. An unknown shopper is no error.",
        responses={
            202: {"content": {"application/json": {"example": EXAMPLE}}},
            **documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
        },
        openapi_extra=needs(Scope.ADMIN),
    )
    async def erase(user_id: Annotated[Id, Path(description="the shop's id of the shopper")]) -> ErasureResponse:
        now = datetime.now(UTC)

        def queued() -> ErasureRequest:
            writer.flush()  # what was on its way to the record is in it, and deleted with the rest
            return queue.add(user_id, new_id(now), now)

        forgotten.add(user_id)  # first: nothing of theirs is recorded from here on
        try:
            request = await asyncio.to_thread(queued)
        except StoreError as error:
            forgotten.discard(user_id)
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "erasure-not-stored",
                f"nobody was queued: {error}; send it again",
                retry_s=RETRY_S,
            ) from None
        return ErasureResponse(request_id=request.request_id, requested_at=request.requested_at)

    return routes
