"""`DELETE /v1/users/{user_id}`: the erasure of a shopper; `POST /v1/users/{user_id}:merge`: joining ids of one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, Field

from features.live.erasure_queue import ErasureRequest
from features.workspace.api_keys import Scope
from recsys.errors import StoreError
from serving.ingress.problems import ProblemError, documented
from serving.ingress.scopes import needs
from serving.lists.ids import new_id
from serving.routes.responses import BODY_PROBLEMS
from serving.routes.services import AppDatabase, AppServices, DatabaseServices
from serving.schemas.lists import Id, Request

RETRY_S: Final = 2
MAX_MERGED: Final = 100
MERGE_EXAMPLES: Final[dict[str, Any]] = {"after a login": {"value": {"user_ids": ["cookie-77"]}}}
EXAMPLE: Final[dict[str, Any]] = {
    "request_id": "019a3f5c2b7e7c41a0f2d1c5e8b94a60",
    "requested_at": "2026-01-02T09:30:00.123456Z",
}


class ErasureResponse(BaseModel):
    """A pending erasure; its receipt names the `request_id`."""

    request_id: str
    requested_at: datetime


class MergeRequest(Request):
    """Other ids of the shopper, such as that of the cookie before the login."""

    user_ids: tuple[Id, ...] = Field(min_length=1, max_length=MAX_MERGED)


class MergeResponse(BaseModel):
    """`user_id` is the shopper's own id from now on; `n_events` counts the events since the last nightly run that were
    moved to it. Earlier ones follow with the next nightly run."""

    user_id: str
    n_events: int


user_routes = APIRouter(prefix="/v1/users", tags=["shoppers"])


@user_routes.post(  # before DELETE, whose path would match this one as well
    "/{user_id:path}:merge",
    summary="Join the ids of a shopper",
    description="What was done under the ids of the body belongs to this shopper: their lists read it at once, their "
    "history has it after the next nightly run, and an erasure of any of the ids erases all. Requests and events under "
    "the joined ids count as this shopper's. It cannot be undone.",
    responses={
        200: {"content": {"application/json": {"example": {"user_id": "customer-5", "n_events": 3}}}},
        **BODY_PROBLEMS,
    },
    openapi_extra=needs(Scope.WRITE),
)
async def merge(
    user_id: Annotated[Id, Path(description="the shop's id of the shopper")],
    body: Annotated[MergeRequest, Body(openapi_examples=MERGE_EXAMPLES)],
    services: AppServices,
    database: AppDatabase,
) -> MergeResponse:
    stored = services.user_ids.stored
    others, into_id = [stored(other) for other in body.user_ids], stored(user_id)
    if any(name in services.erased_users for name in (user_id, into_id, *body.user_ids, *others)):
        message = "one of these shoppers was erased; their ids are not joined"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", message)
    try:
        target, n_events = await asyncio.to_thread(
            database.user_merges.merge, {*body.user_ids, *others}, into_id, datetime.now(UTC)
        )
        await asyncio.to_thread(services.user_ids.merges.poll)
    except StoreError as error:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "merge-not-stored",
            f"the ids were not joined: {error}; send the request again",
            retry_s=RETRY_S,
        ) from None
    return MergeResponse(user_id=target, n_events=n_events)


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
