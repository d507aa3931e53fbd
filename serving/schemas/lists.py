"""What clients send and receive: the models of the HTTP contract, their limits and examples."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator

from features.text.cleaning import clean
from recsys.tables import EARLIEST, EVENT_TYPES

MAX_SESSION_EVENTS: Final = 500
MAX_ITEM_IDS: Final = 200
MAX_EXCLUDE_IDS: Final = 5_000
MAX_TEXT_CHARS: Final = 4_000
MAX_ID_CHARS: Final = 512


def _known_type(name: str) -> str:
    if name not in EVENT_TYPES:
        raise ValueError(f"unknown event type; known: {', '.join(EVENT_TYPES)}")
    return name


def storable(text: str) -> str:
    """The text; ValueError where PostgreSQL could not keep it."""
    if "\x00" in text:
        raise ValueError("holds a NUL character, which no database keeps")
    return text


def _readable(text: str) -> str:
    cleaned = clean(text)
    if not cleaned:
        raise ValueError("nothing to read is left after removing markup and spaces")
    return cleaned


def _in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; without a zone it is read as UTC."""
    try:
        in_utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("out of range") from None
    if in_utc < EARLIEST:
        raise ValueError(f"before {EARLIEST.year}; send ISO 8601 or seconds since 1970")
    return in_utc


Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS), AfterValidator(storable)]
ReadableText = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS), AfterValidator(_readable)]
EventType = Annotated[str, AfterValidator(_known_type), Field(json_schema_extra={"enum": list(EVENT_TYPES)})]
UtcTime = Annotated[datetime, AfterValidator(_in_utc)]
Count = Annotated[int, Field(strict=True, ge=1)]


class Request(BaseModel):
    """What a client sends: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SessionEvent(Request):
    """One thing the shopper did in this session: an item, a text (query or page), or both."""

    item_id: Id | None = None
    text: ReadableText | None = None
    event_type: EventType | None = Field(None, description="left out: search for a text alone, else view")
    timestamp: UtcTime | None = Field(None, description="left out: the time of the request")
    value: FiniteFloat | None = Field(None, description="the stars of a rating")

    @model_validator(mode="after")
    def _says_something(self) -> SessionEvent:
        if self.item_id is None and self.text is None:
            raise ValueError("a session event needs item_id or text")
        return self


def kind_of(event: SessionEvent) -> str:
    """Its type, or the one that it has where it names none."""
    return event.event_type or ("search" if event.item_id is None else "view")


class RecommendRequest(Request):
    """Who asks and what is known of the moment; at least one of user_id, session, item_ids and text."""

    user_id: Id | None = None
    session: tuple[SessionEvent, ...] = Field((), max_length=MAX_SESSION_EVENTS, description="oldest first")
    item_ids: tuple[Id, ...] = Field((), max_length=MAX_ITEM_IDS, description="items of the page or basket")
    text: ReadableText | None = Field(None, description="what the shopper asks for, in any words")
    count: Count = 10
    exclude_ids: tuple[Id, ...] = Field((), max_length=MAX_EXCLUDE_IDS, description="never return these")

    @model_validator(mode="after")
    def _names_a_shopper(self) -> RecommendRequest:
        if self.user_id is None and not self.session and not self.item_ids and self.text is None:
            raise ValueError("nothing to go by; send at least one of user_id, session, item_ids, text")
        return self


class SimilarRequest(Request):
    """Items like one item."""

    item_id: Id
    count: Count = 10
    exclude_ids: tuple[Id, ...] = Field((), max_length=MAX_EXCLUDE_IDS)
    return_properties: bool = Field(False, strict=True)


class ItemProperties(BaseModel):
    """What the catalogue says of an item; null where it says nothing."""

    title: str | None
    category: str | None
    brand: str | None
    price: float | None
    available: bool
    updated_at: datetime | None
    attributes: dict[str, Any] | None
    rating: float | None = Field(description="mean stars of its reviews as of the release, 1 to 5")
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
    """One place of the list. `source` names what proposed the item, or is "new" in a place that is kept for new items
    and "pinned" in one that was asked for; `score` orders this list only, those places and diversity aside.

    `properties` are there with `return_properties`; `reason`, `scores` (what each source added) and `evidence` (null
    where no review may be quoted) with `explain`."""

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
    """The ranked list, best first. `fallback` is null, or a word on why the list is not personal; `n_matched` comes
    with a filter: how many items fulfil it and may be shown to this shopper; `experiment` and `arm` come where the
    shopper is in one."""

    recommendation_id: str
    items: list[SlateItem]
    fallback: str | None
    n_matched: int | None = None
    experiment: str | None = None
    arm: str | None = None
    release_id: str
    took_ms: float


class ReleaseResponse(BaseModel):
    """The release that answers now. `rows` counts table rows, `metrics` are its evaluation's."""

    release_id: str
    as_of: datetime
    rows: dict[str, int]
    metrics: dict[str, Any]
    encoder_id: str


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
    "guest with a sentence": {"value": {"text": "a warm waterproof jacket for cycling", "count": 5}},
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
