"""Events of shoppers: the models of `POST /v1/events`, their limits and examples."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat, WrapValidator, model_validator

from recsys.tables import EVENT_TYPES
from recsys.values.guests import guest_id
from recsys.values.scalar import parse_price, prepare_times
from serving.schemas.lists import EventType, Id, ReadableText, Request, UtcTime, Whole
from serving.schemas.partial_batch import EntryProblem, or_refused

MAX_EVENTS: Final = 1_000
MAX_POSITION: Final = 2**31 - 1


class ShopEvent(Request):
    """An action of a shopper. An impression has the `recommendation_id` of the list and the item's `position`."""

    event_id: Id | None = Field(
        None, description="your id, so that an event that is sent twice counts once; default: a new id"
    )
    user_id: Id | None = Field(None, description="may be left out of a guest's purchase that has a session_id")
    item_id: Id | None = None
    event_type: EventType
    timestamp: UtcTime | None = Field(None, description="default: the time of the request")
    session_id: Id | None = None
    text: ReadableText | None = Field(None, description="the search query, or the text of the page")
    value: Annotated[FiniteFloat, BeforeValidator(parse_price, json_schema_input_type=float | str)] | None = Field(
        None, description="stars of a rating (1 to 5), amount of a purchase, or seconds of a view"
    )
    recommendation_id: Id | None = Field(None, description="of the list in which the item was shown")
    position: Annotated[Whole, Field(ge=0, le=MAX_POSITION)] | None = Field(
        None, description="position in that list, counted from 0"
    )

    @property
    def shopper(self) -> str:
        """The user id, that of the session's guest where there is none."""
        return self.user_id or guest_id(self.session_id or "")

    @model_validator(mode="after")
    def _keeps_the_rules_of_the_lake(self) -> ShopEvent:
        if self.user_id is None and (self.event_type not in ("purchase", "return") or self.session_id is None):
            raise ValueError("user_id is missing; only a guest's purchase with a session_id needs none")
        if self.item_id is None and self.text is None:
            raise ValueError("an event needs item_id or text")
        if self.event_type == "search" and self.text is None:
            raise ValueError("a search needs text")
        if self.event_type == "rating" and self.value is not None and not 1 <= self.value <= 5:
            raise ValueError("the value of a rating must be from 1 to 5 stars")
        return self


def _either(schema: dict[str, Any]) -> None:
    """Describe the body as a batch or a single event."""
    batch = dict(schema)
    event = batch["properties"]["events"]["items"]
    schema.clear()
    schema.update({"title": batch["title"], "anyOf": [batch, event]})


class EventBatch(Request):
    """Up to 1,000 events; a single event is a batch of one."""

    model_config = Request.model_config | {"json_schema_extra": _either}

    events: tuple[Annotated[ShopEvent, WrapValidator(or_refused)], ...] = Field(min_length=1, max_length=MAX_EVENTS)
    """Each is a ShopEvent, or a Refused in its place."""

    @model_validator(mode="before")
    @classmethod
    def _of_one(cls, body: Any) -> Any:
        body = {"events": [body]} if isinstance(body, dict) and "events" not in body else body
        if isinstance(body, dict) and isinstance(body.get("events"), list):
            prepare_times([event.get("timestamp") for event in body["events"] if isinstance(event, dict)])
        return body


class EventsResponse(BaseModel):
    """`event_ids` has an entry for each event of the request, null where the event was refused; `errors` says why.
    Every event with an id is stored durably, and once, even if it was sent before. `warnings` names events whose id
    another event has; they are stored under another id."""

    accepted: int
    event_ids: list[str | None]
    errors: list[EntryProblem]
    warnings: list[EntryProblem] = []


EVENT_EXAMPLES: Final[dict[str, Any]] = {
    "single event": {"value": {"user_id": "u-1042", "event_type": "view", "item_id": "i-318"}},
    "a batch": {
        "value": {
            "events": [
                {
                    "event_id": "e-90001",
                    "user_id": "u-1042",
                    "event_type": "search",
                    "text": "light trail running shoes",
                    "timestamp": "2026-01-02T10:00:00Z",
                    "session_id": "s-7",
                },
                {"event_id": "e-90002", "user_id": "u-7", "event_type": "purchase", "item_id": "i-77", "value": 89.9},
                {"event_id": "e-90003", "user_id": "u-7", "event_type": "return", "item_id": "i-12"},
                {"event_id": "e-90004", "user_id": "u-7", "event_type": "rating", "item_id": "i-77", "value": 5},
            ]
        }
    },
    "impressions of a list": {
        "value": {
            "events": [
                {
                    "user_id": "u-1042",
                    "event_type": "impression",
                    "item_id": item_id,
                    "recommendation_id": "019a3f5c2b7e7c41a0f2d1c5e8b94a60",
                    "position": position,
                }
                for position, item_id in enumerate(("i-512", "i-93"))
            ]
        }
    },
}

EVENTS_EXAMPLE: Final[dict[str, Any]] = {
    "accepted": 1,
    "event_ids": ["e-90001", None],
    "errors": [
        {"index": 1, "field": "event_type", "message": f"unknown event type; use one of {', '.join(EVENT_TYPES)}"}
    ],
    "warnings": [],
}
