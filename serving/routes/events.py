"""`POST /v1/events`: what shoppers do, reported by the storefront."""

from __future__ import annotations

from collections.abc import Callable, Container
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body, Request

from features.live.event_log import LoggedEvent
from features.workspace.api_keys import Scope
from recsys.errors import StoreError
from recsys.values.refunds import refunded
from serving.ingress.browser_keys import VISITOR_RULE, may_name
from serving.ingress.problems import FieldProblem, ProblemError
from serving.ingress.scopes import needs
from serving.lists.ids import new_id
from serving.routes.responses import BODY_PROBLEMS
from serving.routes.services import AppDatabase, AppServices, Services
from serving.schemas.events import (
    EVENT_EXAMPLES,
    EVENTS_EXAMPLE,
    EventBatch,
    EventsResponse,
    ShopEvent,
)
from serving.schemas.partial_batch import EntryProblem, Refused, split_entries

RETRY_S: Final = 2


event_routes = APIRouter(prefix="/v1", tags=["events"])


@event_routes.post(
    "/events",
    status_code=HTTPStatus.ACCEPTED,
    summary="Report shoppers' events",
    openapi_extra=needs(Scope.WRITE, Scope.BROWSER),
    description='One event, or `{"events": [...]}` with up to 1,000. The response is sent when the events are stored: '
    "the shopper's next list reads them, and the next nightly run trains on them. An event that is already stored "
    "under its `event_id` changes nothing, so a request without a response may be sent again; lines of an order under "
    "one id are all stored, with a warning. Where some events are invalid, the valid ones "
    "are stored and `errors` lists the others; 422 means that all are invalid. Events of erased shoppers are refused.",
    responses={
        202: {"content": {"application/json": {"example": EVENTS_EXAMPLE}}},
        **BODY_PROBLEMS,
    },
)
async def events(
    batch: Annotated[EventBatch, Body(openapi_examples=EVENT_EXAMPLES)],
    services: AppServices,
    database: AppDatabase,
    http_request: Request,
) -> EventsResponse:
    now = datetime.now(UTC)
    latest = now + timedelta(hours=services.settings.ingest.future_slack_hours)
    named = [_with_stored_id(_allowed(event, http_request), services) for event in batch.events]
    valid, errors = split_entries([_checked(event, latest, services.erased_users) for event in named], "events")
    active = services.active()
    item_id_of = active.release.item_id_of if active and active.release.aliases else None
    logged = {index: _logged(event, now, item_id_of) for index, event in valid.items()}
    try:
        renamed = await database.event_writer.append(list(logged.values()))
    except StoreError as error:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "events-not-stored",
            f"no event was stored: {error}; send the same events again",
            retry_s=RETRY_S,
        ) from None
    ids = {index: renamed.get(place, event.event_id) for place, (index, event) in enumerate(logged.items())}
    warnings = [
        EntryProblem(index=index, field="event_id", message=_shared(event.event_id, ids[index]))
        for index, event in logged.items()
        if ids[index] != event.event_id
    ]
    event_ids = [ids.get(index) for index in range(len(batch.events))]
    return EventsResponse(accepted=len(logged), event_ids=event_ids, errors=errors, warnings=warnings)


def _shared(event_id: str, stored_id: str) -> str:
    return (
        f"{event_id} is the id of an event of another shopper, item, type or value; this one is stored as {stored_id}; "
        "give each event an id of its own"
    )


def _allowed(event: ShopEvent | Refused, http_request: Request) -> ShopEvent | Refused:
    """The event, refused where the key that a page shows may not name its shopper."""
    if isinstance(event, Refused) or may_name(http_request.scope, event.user_id):
        return event
    return Refused((FieldProblem(field="user_id", message=VISITOR_RULE),))


def _with_stored_id(event: ShopEvent | Refused, services: Services) -> ShopEvent | Refused:
    """The event under the id by which its shopper is stored; of an erased shopper as it is."""
    if isinstance(event, Refused) or event.shopper in services.erased_users:
        return event
    known_as = services.user_ids.stored(event.shopper)
    return event if known_as == event.shopper else event.model_copy(update={"user_id": known_as})


def _checked(event: ShopEvent | Refused, latest: datetime, erased_users: Container[object]) -> ShopEvent | Refused:
    """The event, refused where it lies in the future or its shopper was erased."""
    if isinstance(event, Refused):
        return event
    if event.shopper in erased_users:
        return Refused(
            (FieldProblem(field="user_id", message="this shopper was erased; their events are not accepted"),)
        )
    if event.timestamp is None or event.timestamp <= latest:
        return event
    return Refused((FieldProblem(field="timestamp", message="lies in the future; send UTC, or leave it out"),))


def _logged(event: ShopEvent, now: datetime, item_id_of: Callable[[str], str] | None) -> LoggedEvent:
    """item_id_of: resolves other ids of items, None where the release has none."""
    item_id = item_id_of(event.item_id) if item_id_of and event.item_id else event.item_id
    event_type, value = refunded(event.event_type, event.value)
    return LoggedEvent(
        event_id=event.event_id or new_id(now),
        user_id=event.shopper,
        item_id=item_id,
        event_type=event_type,
        timestamp=event.timestamp or now,
        session_id=event.session_id,
        text=event.text,
        value=value,
        recommendation_id=event.recommendation_id,
        position=event.position,
    )
