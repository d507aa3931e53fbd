"""Options of a list request: filters, ranking rules, scenario, and what is returned of each item.

A filter is an object of conditions that must all hold: `{"category": "Home > Lamps", "price": {"max": 50}}`; `and`,
`or` and `not` hold further filters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from recsys import config, filters
from recsys.properties import Scalar
from recsys.query import Query
from recsys.rules import LIMITS, PLAIN, RELAXABLE, SEEN_ITEMS, Boost, Pin, Rules
from serving.schemas.lists import Id, Name, ReadableText, RecommendRequest, Request, UtcTime, Whole

MAX_CONDITIONS: Final = 50
MAX_DEPTH: Final = 6
MAX_VALUES: Final = 200
MAX_BOOSTS: Final = 10
MAX_PINS: Final = 100
MAX_FACTOR: Final = 100.0

ScenarioName = Literal["home", "product", "cart", "search", "email"]
Relaxable = Literal["max_per_category", "max_per_brand", "collapse_variants", "seen"]
PRESET: Final = ("diversity", "max_per_category", "max_per_brand", "collapse_variants", "new_items")
"""What a scenario sets, apart from the number of items."""


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _value(value: Any) -> Scalar:
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("a value must be a text, a number, true or false")
    if isinstance(value, str) and len(value) > 512:
        raise ValueError("a value has at most 512 characters")
    return value


Names = Annotated[
    tuple[Name, ...], BeforeValidator(_several, json_schema_input_type=Name | list[Name]), Field(max_length=MAX_VALUES)
]
Value = Annotated[Any, AfterValidator(_value)]
Values = Annotated[
    tuple[Value, ...],
    BeforeValidator(_several, json_schema_input_type=Scalar | list[Scalar]),
    Field(min_length=1, max_length=MAX_VALUES),
]


def _bounded(filter_: Any) -> Any:
    """Refuse a filter that is nested too deep before it is validated, because validation recurses."""
    left: list[tuple[str, Any, int]] = [("", filter_, 1)]
    while left:
        path, node, depth = left.pop()
        if not isinstance(node, dict):
            continue
        if depth > MAX_DEPTH:
            raise ValueError(f"{path}: filters may be nested {MAX_DEPTH} levels deep at most")
        for name in ("and", "or"):
            inner = node.get(name)
            inner = inner if isinstance(inner, list) else []
            if len(inner) > MAX_CONDITIONS:
                raise ValueError(f"a request may have {MAX_CONDITIONS} conditions at most")
            left += [(f"{path}{name}.{index}.", child, depth + 1) for index, child in enumerate(inner)]
        left.append((f"{path}not.", node.get("not"), depth + 1))
    return filter_


class PriceRange(Request):
    """A range of prices; both ends are included."""

    least: float | None = Field(None, alias="min", ge=0, allow_inf_nan=False)
    most: float | None = Field(None, alias="max", ge=0, allow_inf_nan=False)


class ItemFilter(Request):
    """Conditions that must all hold. A property without a value fulfils no condition, and therefore fulfils `not`."""

    all_of: tuple[ItemFilter, ...] = Field((), alias="and", description="all of these filters match")
    any_of: tuple[ItemFilter, ...] | None = Field(
        None, alias="or", min_length=1, description="at least one of these filters matches"
    )
    none_of: ItemFilter | None = Field(None, alias="not", description="this filter does not match")
    category: Names = Field((), description="in one of these categories or their subcategories, each a full path")
    brand: Names = Field((), description="of one of these brands")
    price: PriceRange | None = None
    available: bool | None = Field(
        None, strict=True, description="available as of the release; unavailable items are never shown in any case"
    )
    attributes: dict[Name, Values] = Field(
        {}, max_length=MAX_CONDITIONS, description="each of these attributes has one of the given values"
    )
    updated_after: UtcTime | None = Field(None, description="changed in the catalogue after this time")

    @model_validator(mode="after")
    def _says_something(self) -> ItemFilter:
        if next(self._conditions(), None) is None:
            raise ValueError(
                "empty filter; give at least one of and, or, not, category, brand, price, available, attributes, "
                "updated_after"
            )
        return self

    def to_filter(self) -> filters.Filter:
        """The filter as the recommender takes it."""
        conditions = tuple(self._conditions())
        return conditions[0] if len(conditions) == 1 else filters.And(conditions)

    def n_conditions(self) -> int:
        """Number of conditions, those within `and`, `or` and `not` included, which themselves do not count."""
        inner = (*self.all_of, *(self.any_of or ()), *([self.none_of] if self.none_of else []))
        combined = (filters.And, filters.Or, filters.Not)
        n_here = sum(1 for condition in self._conditions() if not isinstance(condition, combined))
        return n_here + sum(filter_.n_conditions() for filter_ in inner)

    def _conditions(self) -> Iterator[filters.Filter]:
        if self.all_of:
            yield filters.And(tuple(filter_.to_filter() for filter_ in self.all_of))
        if self.any_of is not None:
            yield filters.Or(tuple(filter_.to_filter() for filter_ in self.any_of))
        if self.none_of is not None:
            yield filters.Not(self.none_of.to_filter())
        if self.category:
            yield filters.InCategory(self.category)
        if self.brand:
            yield filters.OfBrand(self.brand)
        if self.price is not None:
            yield filters.PriceBetween(self.price.least, self.price.most)
        if self.available is not None:
            yield filters.IsAvailable(self.available)
        for name, values in self.attributes.items():
            yield filters.HasAttribute(name, values)
        if self.updated_after is not None:
            yield filters.UpdatedAfter(self.updated_after)


def _few(filter_: ItemFilter) -> ItemFilter:
    n_conditions = filter_.n_conditions()
    if n_conditions > MAX_CONDITIONS:
        raise ValueError(f"{n_conditions} conditions; a request may have {MAX_CONDITIONS} conditions at most")
    return filter_


BoundedFilter = Annotated[ItemFilter, BeforeValidator(_bounded), AfterValidator(_few)]


class BoostRule(Request):
    """Rank items that match the filter higher: the factor multiplies an item's odds against another of equal score."""

    filter: BoundedFilter
    factor: float = Field(2.0, ge=1, le=MAX_FACTOR)


class BuryRule(Request):
    """Rank items that match the filter lower; the factor 0 puts them after all others."""

    filter: BoundedFilter
    factor: float = Field(0.0, ge=0, le=1)


class PinRule(Request):
    """Show this item at this position, counted from 1. An unknown, unavailable or excluded item is ignored."""

    item_id: Id
    position: Whole = Field(ge=1, le=1000)


class ListRequest(RecommendRequest):
    """The shopper, the context and the options of a list. An option that is left out has the scenario's value, else the
    default of the service's settings."""

    scenario: ScenarioName | None = Field(None, description="preset options: [scenarios] of the service's settings")
    filter: BoundedFilter | None = Field(None, description="only items that match; n_matched counts them")
    boosts: tuple[BoostRule, ...] = Field((), max_length=MAX_BOOSTS)
    bury: tuple[BuryRule, ...] = Field((), max_length=MAX_BOOSTS)
    pins: tuple[PinRule, ...] = Field((), max_length=MAX_PINS)
    diversity: float | None = Field(None, ge=0, le=1, description="0: by score alone; 1: as diverse as possible")
    max_per_category: Whole | None = Field(None, ge=0, description="items per category; 0: no limit")
    max_per_brand: Whole | None = Field(None, ge=0, description="items per brand; 0: no limit")
    collapse_variants: bool | None = Field(
        None, strict=True, description="show only one of a product's variants, such as sizes and colours"
    )
    new_items: float | None = Field(None, ge=0, le=0.5, description="share of places reserved for items without buyers")
    relax: tuple[Relaxable, ...] | None = Field(
        None,
        max_length=len(RELAXABLE),
        description=(
            "rules that give way where the list would have fewer items than count; by default `seen` (items that the "
            "shopper has seen are left out) and the limits that the scenario sets; none: an empty list"
        ),
    )
    return_properties: bool = Field(
        False, strict=True, description="return title, category, brand, price and other properties of each item"
    )
    explain: bool = Field(
        False, strict=True, description="return the reason for each item, and a sentence from its reviews"
    )

    @model_validator(mode="after")
    def _is_bounded(self) -> ListRequest:
        rules = [*(rule.filter for rule in self.boosts), *(rule.filter for rule in self.bury)]
        all_filters = [self.filter, *rules] if self.filter else rules
        n_conditions = sum(filter_.n_conditions() for filter_ in all_filters)
        if n_conditions > MAX_CONDITIONS:
            raise ValueError(f"{n_conditions} conditions in all filters; a request may have {MAX_CONDITIONS} at most")
        positions = [pin.position for pin in self.pins]
        if len(set(positions)) < len(positions):
            taken = next(position for position in positions if positions.count(position) > 1)
            raise ValueError(f"pins: position {taken} is given twice")
        return self


class SearchRequest(ListRequest):
    """A list for a search query. Items that the shopper has seen or bought are not left out."""

    text: ReadableText = Field(description="the search query")


AnyList = TypeVar("AnyList", bound=ListRequest)


def settled(request: AnyList, scenarios: config.ScenariosSettings, arm: config.ArmSettings | None = None) -> AnyList:
    """The request with its open options filled in from the arm of an experiment, else from the scenario.

    The arm's scenario is used where the request names none, and does not set the number of items. A limit that is
    filled in gives way where the list would be short; one of the request itself does not.
    """
    named = None if request.scenario is None else getattr(scenarios, request.scenario)
    preset = getattr(scenarios, arm.scenario) if named is None and arm is not None and arm.scenario else named
    options: dict[str, Any] = {}
    if named is not None and "count" not in request.model_fields_set:
        options["count"] = named.count
    for name in PRESET:
        if getattr(request, name) is None:
            of_arm = None if arm is None else getattr(arm, name)
            value = of_arm if of_arm is not None else getattr(preset, name, None)
            if value is not None:
                options[name] = value
    if request.relax is None and any(options.get(name) for name in LIMITS):
        options["relax"] = (*(name for name in LIMITS if options.get(name)), SEEN_ITEMS)
    return request.model_copy(update=options) if options else request


def with_rules(query: Query, request: ListRequest, *, search: bool) -> Query:
    """The query with the options of a settled request. search: whether it came as a search."""
    return replace(query, rules=to_rules(request), explain=request.explain, search=search)


def to_rules(request: ListRequest) -> Rules:
    """The rules as the recommender takes them; the request is settled."""
    boosts = [(rule.filter, rule.factor) for rule in request.boosts]
    bury = [(rule.filter, rule.factor) for rule in request.bury]
    return Rules(
        filter=None if request.filter is None else request.filter.to_filter(),
        boosts=tuple(Boost(filter_.to_filter(), factor) for filter_, factor in [*boosts, *bury]),
        pins=tuple(Pin(pin.item_id, pin.position) for pin in request.pins),
        diversity=request.diversity or 0.0,
        max_per_category=request.max_per_category or 0,
        max_per_brand=request.max_per_brand or 0,
        collapse_variants=request.collapse_variants or False,
        new_items=request.new_items,
        relaxable=PLAIN.relaxable if request.relax is None else frozenset(request.relax),
    )
