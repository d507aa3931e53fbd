"""What comes back: frozen dataclasses, named as in `/openapi.json`, and how they are read from JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

UNAVAILABLE = "unavailable"
"""`fallback` of a list that the caller gave, as the service did not answer."""


@dataclass(frozen=True)
class ItemProperties:
    """What the catalogue says of an item; None where it says nothing."""

    title: str | None
    category: str | None
    brand: str | None
    price: float | None
    available: bool
    updated_at: datetime | None
    attributes: Mapping[str, Any] | None
    rating: float | None
    n_reviews: int


@dataclass(frozen=True)
class Reason:
    """Why an item is in a list, as a sentence for the shopper."""

    kind: str
    text: str
    item_id: str | None


@dataclass(frozen=True)
class Evidence:
    """A sentence of a review, word for word."""

    text: str
    review_id: str
    stars: float
    matched_on: str


@dataclass(frozen=True)
class SlateItem:
    """One place of a list; the last four are None where they were not asked for."""

    item_id: str
    score: float
    rank: int
    source: str
    title: str | None
    properties: ItemProperties | None = None
    reason: Reason | None = None
    scores: Mapping[str, float] | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True)
class SlateResponse:
    """The list, best first. `fallback` is None, or a word on why it is not personal; `experiment` and `arm` are those
    that the shopper is in."""

    recommendation_id: str
    items: tuple[SlateItem, ...]
    fallback: str | None
    release_id: str
    took_ms: float
    n_matched: int | None = None
    experiment: str | None = None
    arm: str | None = None

    @property
    def item_ids(self) -> list[str]:
        """The list as ids alone."""
        return [item.item_id for item in self.items]


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field, named by its path."""

    field: str
    message: str


@dataclass(frozen=True)
class EntryProblem(FieldProblem):
    """The same of one entry of a batch; `index` counts from 0."""

    index: int


@dataclass(frozen=True)
class EventsResponse:
    """`event_ids` follow the request, None where an event was refused; `errors` say why."""

    accepted: int
    event_ids: tuple[str | None, ...]
    errors: tuple[EntryProblem, ...]


@dataclass(frozen=True)
class BatchProblem:
    """Why one request of a batch has no list."""

    status: int
    detail: str
    errors: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True)
class BatchResult:
    """Either a list or a problem."""

    slate: SlateResponse | None
    problem: BatchProblem | None


@dataclass(frozen=True)
class BatchResponse:
    """One result for each request, in their order."""

    results: tuple[BatchResult, ...]
    n_failed: int
    took_ms: float


@dataclass(frozen=True)
class ItemResponse:
    """The change is on the disk."""

    item_id: str
    version: int


@dataclass(frozen=True)
class ItemsResponse:
    """`item_ids` follow the request, None where a product was refused; `errors` say why."""

    accepted: int
    item_ids: tuple[str | None, ...]
    errors: tuple[EntryProblem, ...]
    version: int


@dataclass(frozen=True)
class ReleaseResponse:
    """The release that answers now."""

    release_id: str
    as_of: datetime
    rows: Mapping[str, int]
    metrics: Mapping[str, Any]
    encoder_id: str


@dataclass(frozen=True)
class ExplainResponse:
    """A list made again from its release; `reproduced` says whether it holds `served_item_ids`, the items served."""

    recommendation_id: str
    asked_at: datetime
    user_id: str | None
    release_id: str
    reproduced: bool
    served_item_ids: tuple[str, ...]
    items: tuple[SlateItem, ...]
    fallback: str | None
    took_ms: float
    experiment: str | None = None
    arm: str | None = None


@dataclass(frozen=True)
class LiftInterval:
    """As a share of the first arm's figure, with the ends of the 95 % interval."""

    lift: float
    low: float
    high: float


@dataclass(frozen=True)
class ExperimentArm:
    """What the shoppers of an arm did after their first list; the lifts are None where there is nothing to tell."""

    arm: str
    weight: float
    n_users: int
    n_exposures: int
    n_converted: int
    n_outcomes: int
    rate: float
    outcomes_per_user: float
    rate_lift: LiftInterval | None
    outcomes_lift: LiftInterval | None


@dataclass(frozen=True)
class SampleRatio:
    """Where it is not to be trusted, no lift is."""

    chi_square: float
    p_value: float
    is_trusted: bool


@dataclass(frozen=True)
class ExperimentResult:
    """The first arm is what the others are compared with."""

    name: str
    share: float
    since: datetime | None
    arms: tuple[ExperimentArm, ...]
    sample_ratio: SampleRatio
    n_switched: int
    n_other: int


@dataclass(frozen=True)
class ExperimentsResponse:
    """The experiments of the service's settings, as they stood at `as_of`."""

    metric: str
    as_of: datetime
    experiments: tuple[ExperimentResult, ...]


@dataclass(frozen=True)
class ItemDetail:
    """A product, and the sentences of its reviews that may be quoted."""

    item_id: str
    properties: ItemProperties
    quotes: tuple[Evidence, ...]
    release_id: str


@dataclass(frozen=True)
class Category:
    """`path` is what filters take; all below it counts."""

    path: str
    name: str
    depth: int
    n_items: int


@dataclass(frozen=True)
class Categories:
    """Ascending by path."""

    categories: tuple[Category, ...]
    release_id: str


@dataclass(frozen=True)
class ShopperItem:
    """What a shopper last did."""

    item_id: str
    title: str | None
    category: str | None
    event_type: str


@dataclass(frozen=True)
class Shopper:
    """Newest first."""

    user_id: str
    n_items: int
    recent: tuple[ShopperItem, ...]


@dataclass(frozen=True)
class Shoppers:
    """A few of the `n_shoppers` that the release knows."""

    shoppers: tuple[Shopper, ...]
    n_shoppers: int
    release_id: str


@dataclass(frozen=True)
class ErasureResponse:
    """`request_id` stands in the receipt of the erasure."""

    request_id: str
    requested_at: datetime


def given_list(item_ids: Sequence[str]) -> SlateResponse:
    """A list of the caller's own, as one that was answered."""
    items = [SlateItem(item_id, 0.0, rank, UNAVAILABLE, None) for rank, item_id in enumerate(item_ids, 1)]
    return SlateResponse("", tuple(items), UNAVAILABLE, "", 0.0)


def read(kind: Callable[..., T], raw: Mapping[str, Any]) -> T:
    """The answer as `kind`; a field that this client does not know is left out, so that the service may grow.

    Raises TypeError, ValueError or AttributeError for anything else.
    """
    return kind(**{name: _value(hint, raw[name]) for name, hint in _fields(kind).items() if name in raw})


def _value(hint: Any, raw: Any) -> Any:
    if raw is None:
        return None
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _value(next(one for one in get_args(hint) if one is not NoneType), raw)
    if origin is tuple:
        return tuple(_value(get_args(hint)[0], one) for one in raw)
    if hint is datetime:
        return datetime.fromisoformat(raw)
    if isinstance(hint, type) and is_dataclass(hint):
        return read(hint, raw)
    return raw


@cache
def _fields(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
