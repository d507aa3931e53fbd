"""What may be asked: the contract's requests as dictionaries with typed keys, named as in `/openapi.json`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, Required, TypedDict

EventType = Literal["impression", "view", "click", "cart", "purchase", "rating", "return", "search"]
Scenario = Literal["home", "product", "cart", "search", "email"]
Scalar = str | int | float | bool
Moment = str | datetime
"""ISO 8601; without a zone it is read as UTC."""


class SessionEvent(TypedDict, total=False):
    """An item, a text (query or page), or both."""

    item_id: str
    text: str
    event_type: EventType
    timestamp: Moment
    value: float


class PriceRange(TypedDict, total=False):
    """Both ends are included."""

    min: float
    max: float


ItemFilter = TypedDict(
    "ItemFilter",
    {
        "and": "Sequence[ItemFilter]",
        "or": "Sequence[ItemFilter]",
        "not": "ItemFilter",
        "category": str | Sequence[str],
        "brand": str | Sequence[str],
        "price": PriceRange,
        "available": bool,
        "attributes": Mapping[str, Scalar | Sequence[Scalar]],
        "updated_after": Moment,
    },
    total=False,
)
"""Conditions that must all hold."""


class BoostRule(TypedDict):
    """Lift what fulfils the filter."""

    filter: ItemFilter
    factor: NotRequired[float]


class BuryRule(TypedDict):
    """Lower what fulfils the filter."""

    filter: ItemFilter
    factor: NotRequired[float]


class PinRule(TypedDict):
    """This item in this place, counted from 1."""

    item_id: str
    position: int


class ListRequest(TypedDict, total=False):
    """A list: at least one of user_id, session, item_ids and text."""

    user_id: str
    session: Sequence[SessionEvent]
    item_ids: Sequence[str]
    text: str
    count: int
    exclude_ids: Sequence[str]
    scenario: Scenario
    filter: ItemFilter
    boosts: Sequence[BoostRule]
    bury: Sequence[BuryRule]
    pins: Sequence[PinRule]
    diversity: float
    max_per_category: int
    max_per_brand: int
    collapse_variants: bool
    new_items: float
    return_properties: bool
    explain: bool


class SearchRequest(ListRequest, total=False):
    """A list for words that a shopper has typed."""

    text: Required[str]  # type: ignore[misc]  # a search needs what a list may have


class SimilarRequest(TypedDict, total=False):
    """Items like one item."""

    item_id: Required[str]
    count: int
    exclude_ids: Sequence[str]
    return_properties: bool


class ComplementsRequest(TypedDict, total=False):
    """What is bought with these items."""

    item_ids: Required[Sequence[str]]
    count: int
    exclude_ids: Sequence[str]
    filter: ItemFilter
    return_properties: bool


class PopularRequest(TypedDict, total=False):
    """What sells."""

    category: str
    count: int
    window: Literal["lately", "ever"]
    return_properties: bool


class ShopEvent(TypedDict, total=False):
    """One thing a shopper did. Without an event_id the client gives it one."""

    event_id: str
    user_id: Required[str]
    item_id: str
    event_type: Required[EventType]
    timestamp: Moment
    session_id: str
    text: str
    value: float
    recommendation_id: str
    position: int


class ItemFields(TypedDict, total=False):
    """What is new of a product."""

    title: str
    description: str
    category: str
    brand: str
    price: float
    available: bool
    attributes: Mapping[str, Any]


class ShopItem(ItemFields, total=False):
    """The same of a product of a batch."""

    item_id: Required[str]
