"""Filters: conditions on item properties, joined by and, or, not.

An unknown value fulfils no condition, but fulfils the negation of any: an item without a price is neither below 10 nor
above 10, and it is "not below 10".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from recsys.properties import Properties, Scalar, category_path, comparable


@dataclass(frozen=True)
class And:
    """All of these; without any, every item."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """At least one of these; without any, no item."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    """Every item that does not fulfil the filter."""

    filter: Filter


@dataclass(frozen=True)
class InCategory:
    """In one of the categories or below it: "Home" includes "Home > Lamps"."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class OfBrand:
    brands: tuple[str, ...]


@dataclass(frozen=True)
class PriceBetween:
    """Both ends are included; None is open."""

    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class IsAvailable:
    """As in the catalogue when the release was made. An unavailable item is in no list, whatever a filter says."""

    available: bool = True


@dataclass(frozen=True)
class HasAttribute:
    """The attribute has one of these values; where the catalogue holds a list, one entry of the list has."""

    name: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class UpdatedAfter:
    """The item's catalogue row changed after that moment (UTC)."""

    moment: datetime


Filter = And | Or | Not | InCategory | OfBrand | PriceBetween | IsAvailable | HasAttribute | UpdatedAfter


def matching(condition: Filter, items: Properties) -> np.ndarray:
    """(n_items,) bool: which items fulfil the filter. Names and values are compared without case."""
    match condition:
        case And(filters):
            matches = np.ones(items.n_items, dtype=bool)
            for each in filters:
                matches &= matching(each, items)
            return matches
        case Or(filters):
            matches = np.zeros(items.n_items, dtype=bool)
            for each in filters:
                matches |= matching(each, items)
            return matches
        case Not(inner):
            return ~matching(inner, items)
        case InCategory(paths):
            roots = {category_path(path) for path in paths}
            below = [any(path[:depth] in roots for depth in range(1, len(path) + 1)) for path in items.category.paths]
            return items.category.chosen(below)
        case OfBrand(brands):
            keys = {comparable(brand) for brand in brands}
            return items.brand.chosen([key in keys for key in items.brand.keys])
        case PriceBetween(least, most):
            lowest, highest = -np.inf if least is None else least, np.inf if most is None else most
            return (items.price >= lowest) & (items.price <= highest)  # NaN is neither
        case IsAvailable(available):
            return items.available == available
        case HasAttribute(name, values):
            return _with_attribute(comparable(name), {comparable(value) for value in values}, items)
        case UpdatedAfter(moment):
            return items.updated_us > int(moment.timestamp() * 1_000_000)


def _with_attribute(name: str, values: set[str], items: Properties) -> np.ndarray:
    matches = np.zeros(items.n_items, dtype=bool)
    for value in values:
        rows = items.attribute_rows.get((name, value))
        if rows is not None:
            matches[rows] = True
    return matches
