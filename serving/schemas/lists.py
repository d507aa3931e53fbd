"""Requests and responses of recommendation lists: the models, their limits and examples."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    model_validator,
)

from features.text.cleaning import clean
from recsys.tables import EARLIEST, EVENT_TYPES
from recsys.values.event_types import KNOWN, event_type_of
from recsys.values.scalar import parse_id, parse_time, prepare_times

MAX_SESSION_EVENTS: Final = 500
MAX_ITEM_IDS: Final = 200
MAX_EXCLUDE_IDS: Final = 5_000
MAX_TEXT_CHARS: Final = 4_000
MAX_ID_CHARS: Final = 512


def _known_type(name: str) -> str:
    known = name if name in EVENT_TYPES else event_type_of(name)
    if known is None:
        raise ValueError(f"unknown event type; use one of {KNOWN}")
    return known


def _whole(value: Any) -> Any:
    """2.0 is the count 2, as JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def storable(text: str) -> str:
    """The text; raises ValueError where PostgreSQL could not store it."""
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _readable(text: str) -> str:
    cleaned = clean(text)
    if not cleaned:
        raise ValueError("no text is left after removing markup and spaces")
    return cleaned


def _in_utc(moment: datetime) -> datetime:
    """The time in UTC; without a time zone it is read as UTC."""
    try:
        in_utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("time out of range") from None
    if in_utc < EARLIEST:
        raise ValueError(f"time before {EARLIEST.year}; send ISO 8601 or seconds since 1970")
    return in_utc


Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS), AfterValidator(storable)]
"""Of a brand, a category or an attribute."""
Id = Annotated[
    str,
    BeforeValidator(parse_id, json_schema_input_type=str | int),
    StringConstraints(min_length=1, max_length=MAX_ID_CHARS),
    AfterValidator(storable),
]
ReadableText = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS), AfterValidator(_readable)]
EventType = Annotated[str, AfterValidator(_known_type), Field(json_schema_extra={"enum": list(EVENT_TYPES)})]
UtcTime = Annotated[
    datetime, BeforeValidator(parse_time, json_schema_input_type=datetime | float | str), AfterValidator(_in_utc)
]
Whole = Annotated[int, BeforeValidator(_whole, json_schema_input_type=int), Field(strict=True)]
Count = Annotated[Whole, Field(ge=1)]


class Request(BaseModel):
    """Base of all request models: unknown fields are refused; null in an optional field means that it was not sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if isinstance(body, dict) and None in body.values():
            return {name: value for name, value in body.items() if value is not None}
        return body


class SessionEvent(Request):
    """An action of the shopper in this session, with an item, a text (query or page), or both."""

    item_id: Id | None = None
    text: ReadableText | None = None
    event_type: EventType | None = Field(None, description="default: search for a text without an item, else view")
    timestamp: UtcTime | None = Field(None, description="default: the time of the request")
    value: FiniteFloat | None = Field(None, description="stars of a rating")

    @model_validator(mode="after")
    def _says_something(self) -> SessionEvent:
        if self.item_id is None and self.text is None:
            raise ValueError("a session event needs item_id or text")
        return self


def kind_of(event: SessionEvent) -> str:
    """The event's type, or the default one."""
    return event.event_type or ("search" if event.item_id is None else "view")


class RecommendRequest(Request):
    """The shopper and the context of the list: at least one of user_id, session, item_ids and text."""

    user_id: Id | None = None
    session: tuple[SessionEvent, ...] = Field(
        (), max_length=MAX_SESSION_EVENTS, description="events of this session, oldest first"
    )
    item_ids: tuple[Id, ...] = Field((), max_length=MAX_ITEM_IDS, description="items on the page or in the cart")
    text: ReadableText | None = Field(None, description="what the shopper is looking for, in their own words")
    count: Count = 10
    exclude_ids: tuple[Id, ...] = Field((), max_length=MAX_EXCLUDE_IDS, description="items never to return")

    @model_validator(mode="before")
    @classmethod
    def _with_times_at_once(cls, body: Any) -> Any:
        if isinstance(body, dict) and isinstance(body.get("session"), list):
            prepare_times([event.get("timestamp") for event in body["session"] if isinstance(event, dict)])
        return body

    @model_validator(mode="after")
    def _names_a_shopper(self) -> RecommendRequest:
        if self.user_id is None and not self.session and not self.item_ids and self.text is None:
            raise ValueError("empty request; send at least one of user_id, session, item_ids, text")
        return self


class SimilarRequest(Request):
    """Items similar to one item."""

    item_id: Id
    count: Count = 10
    exclude_ids: tuple[Id, ...] = Field((), max_length=MAX_EXCLUDE_IDS)
    return_properties: bool = Field(False, strict=True)


class ItemProperties(BaseModel):
    """An item's properties in the catalogue; null where the catalogue has no value."""

    title: str | None
    category: str | None
    brand: str | None
    price: float | None
    available: bool
    updated_at: datetime | None
    attributes: dict[str, Any] | None
    rating: float | None = Field(description="mean stars of its reviews as of the release, from 1 to 5")
    n_reviews: int


class Reason(BaseModel):
    """Why the item is there. `kind` is one of pinned, new, buy_again, words, page, history, together, browsing,
    trending and popular; `item_id` names the shopper's item that `text` speaks of."""

    kind: str
    text: str
    item_id: str | None


class Evidence(BaseModel):
    """A sentence of a review of the item, word for word. `matched_on` says what it was chosen by: text, browsing,
    history, or item, where nothing is known of the shopper."""

    text: str
    review_id: str
    stars: float
    matched_on: str


class SlateItem(BaseModel):
    """An item of the list. `source` is the candidate source that proposed it, "new" in a place reserved for new items,
    "pinned", or "seen" where only items were left that the shopper has seen. `score` orders the items of this list
    only, apart from reserved places, pins and diversity.

    `properties` is returned with `return_properties`. With `explain` come `reason`, `scores` (the contribution of each
    source) and `evidence` (null where no review may be quoted)."""

    item_id: str
    score: float
    rank: int
    source: str
    title: str | None
    properties: ItemProperties | None = None
    reason: Reason | None = None
    scores: dict[str, float] | None = None
    evidence: Evidence | None = None


class SlateResponse(BaseModel):
    """The ranked list, best first. `fallback` is null for a personal list, else the reason why it is not personal.
    `n_matched` is returned with a filter: the number of items that match it and may be shown to this shopper.
    `relaxed` is returned where the list would have been short: the rules that gave way, as in the request's `relax`.
    `experiment` and `arm` are returned where the shopper takes part in an experiment."""

    recommendation_id: str
    items: list[SlateItem]
    fallback: str | None
    n_matched: int | None = None
    relaxed: list[str] | None = None
    experiment: str | None = None
    arm: str | None = None
    release_id: str
    took_ms: float


class ScriptRead(BaseModel):
    """How the encoder reads one script: its `share` of all letters, the shares of its letters that are `unknown` and of
    its texts that are `equal` to others, and the letters of a token."""

    script: str
    share: float
    unknown: float
    equal: float
    letters_per_token: float


class TextsRead(BaseModel):
    """How the encoder reads the product texts: the share of letters that are `unknown` to it, the share of texts that
    it cannot tell from others, and whether text vectors are `left_out` for it, so that words and behaviour serve."""

    n_texts: int
    unknown: float
    equal: float
    left_out: bool
    scripts: tuple[ScriptRead, ...]


class ReleaseResponse(BaseModel):
    """The active release. `rows` counts the rows of each table; `metrics` are the results of its evaluation; `texts` is
    null for a release without texts or of an earlier version."""

    release_id: str
    as_of: datetime
    rows: dict[str, int]
    metrics: dict[str, Any]
    encoder_id: str
    texts: TextsRead | None = None


class Alive(BaseModel):
    status: str


class Ready(BaseModel):
    status: str
    release_id: str


RECOMMEND_EXAMPLES: Final[dict[str, Any]] = {
    "known user": {"value": {"user_id": "u-1042", "count": 10}},
    "unknown user": {"value": {"user_id": "first-visit", "count": 10}},
    "guest with a session": {
        "value": {
            "session": [
                {"text": "light trail running shoes", "event_type": "search"},
                {"item_id": "i-318", "event_type": "view"},
                {"item_id": "i-77", "event_type": "cart"},
            ],
        }
    },
    "guest with a text": {"value": {"text": "a warm waterproof jacket for cycling", "count": 5}},
    "item page": {"value": {"item_ids": ["i-318"], "count": 8, "exclude_ids": ["i-77"]}},
    "scenario home": {"value": {"user_id": "u-1042", "scenario": "home", "pins": [{"item_id": "i-9", "position": 1}]}},
    "scenario product": {"value": {"user_id": "u-1042", "scenario": "product", "item_ids": ["i-318"], "explain": True}},
    "scenario cart": {"value": {"item_ids": ["i-318", "i-77"], "scenario": "cart", "return_properties": True}},
    "scenario search": {
        "value": {
            "user_id": "u-1042",
            "scenario": "search",
            "text": "quiet keyboard",
            "filter": {
                "category": "Office",
                "price": {"max": 120},
                "or": [{"brand": ["Keyes", "Typewell"]}, {"attributes": {"switches": "silent"}}],
                "not": {"attributes": {"colour": "white"}},
            },
        }
    },
    "scenario email": {
        "value": {
            "user_id": "u-1042",
            "scenario": "email",
            "filter": {"available": True, "updated_after": "2026-01-01T00:00:00Z"},
            "boosts": [{"filter": {"brand": "Ridge"}, "factor": 2}],
            "bury": [{"filter": {"category": "Gift cards"}}],
            "explain": True,
        }
    },
}

SIMILAR_EXAMPLES: Final[dict[str, Any]] = {"an item": {"value": {"item_id": "i-318", "count": 5}}}

SLATE_EXAMPLE: Final[dict[str, Any]] = {
    "recommendation_id": "019a3f5c2b7e7c41a0f2d1c5e8b94a60",
    "items": [{"item_id": "i-512", "score": 1.83, "rank": 1, "source": "linear", "title": "Ridge trail shoe, blue"}],
    "fallback": None,
    "release_id": "20260102T020000Z-5f2c",
    "took_ms": 2.1,
}


SLATE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"example": SLATE_EXAMPLE}}},
}
