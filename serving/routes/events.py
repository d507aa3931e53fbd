"""`POST /v1/events`."""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body

from features.live.event_log import LoggedEvent
from features.workspace.api_keys import Scope
from recsys.config import Settings
from recsys.errors import StoreError
from serving.ingress.problems import FieldProblem, ProblemError, documented
from serving.ingress.scopes import needs
from serving.lists.ids import new_id
from serving.live.event_writer import EventWriter
from serving.schemas.events import (
    EVENT_EXAMPLES,
    EVENTS_EXAMPLE,
    EventBatch,
    EventsResponse,
    ShopEvent,
)
from serving.schemas.partial_batch import Refused, sorted_out

RETRY_S: Final = 2


def event_routes(writer: EventWriter, settings: Settings, forgotten: Container[object] = ()) -> APIRouter:
    """The routes through which shoppers' events come in. forgotten: shoppers of whom none are taken."""
    routes = APIRouter(prefix="/v1", tags=["events"])
    slack = timedelta(hours=settings.ingest.future_slack_hours)

    @routes.post(
        "/events",
        status_code=HTTPStatus.ACCEPTED,
        summary="What shoppers did",
        openapi_extra=needs(Scope.WRITE),
        description='One event, or `{"events": [...]}` with up to 1,000. The answer comes when the events are on the '
        "disk: the shopper's next list reads them, and the next night learns from them. An `event_id` that is known "
        "changes nothing, so a request without an answer may be sent again. Of a mixed batch the good events are "
        "stored and the others listed; 422 says that none was good. Events of a shopper who was erased are refused.",
        responses={
            202: {"content": {"application/json": {"example": EVENTS_EXAMPLE}}},
            **documented(
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.SERVICE_UNAVAILABLE,
            ),
        },
    )
    async def events(batch: Annotated[EventBatch, Body(openapi_examples=EVENT_EXAMPLES)]) -> EventsResponse:
        now = datetime.now(UTC)
        good, errors = sorted_out([_taken(event, now + slack, forgotten) for event in batch.events], "events")
        logged = {index: _logged(event, now) for index, event in good.items()}
        try:
            await writer.append(list(logged.values()))
        except StoreError as error:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "events-not-stored",
                f"nothing was stored: {error}; send the same events again",
                retry_s=RETRY_S,
            ) from None
        ids = [logged[index].event_id if index in logged else None for index in range(len(batch.events))]
        return EventsResponse(accepted=len(logged), event_ids=ids, errors=errors)

    return routes


def _taken(event: ShopEvent | Refused, latest: datetime, forgotten: Container[object]) -> ShopEvent | Refused:
    """The event, refused where it has not happened yet or its shopper was erased."""
    if isinstance(event, Refused):
        return event
    if event.user_id in forgotten:
        return Refused((FieldProblem(field="user_id", message="this shopper was erased: nothing of theirs is taken"),))
    if event.timestamp is None or event.timestamp <= latest:
        return event
    return Refused((FieldProblem(field="timestamp", message="lies in the future; send UTC, or leave it out"),))


def _logged(event: ShopEvent, now: datetime) -> LoggedEvent:
    return LoggedEvent(
        event_id=event.event_id or new_id(now),
        user_id=event.user_id,
        item_id=event.item_id,
        event_type=event.event_type,
        timestamp=event.timestamp or now,
        session_id=event.session_id,
        text=event.text,
        value=event.value,
        recommendation_id=event.recommendation_id,
        position=event.position,
    )
