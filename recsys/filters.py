"""Which items a request wants at all: conditions on their properties, joined by and, or, not.

An unknown value fulfils no condition, and its negation does: an item without a price is neither below 10 nor above,
and it is among those that are "not below 10".
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
    """What the filter leaves out."""

    filter: Filter


@dataclass(frozen=True)
class InCategory:
    """In one of the categories, each with all that is below it: "Home" has "Home > Lamps"."""

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
    """As the catalogue said when the release was made. What is unavailable is in no list, whatever a filter says."""

    available: bool = True


@dataclass(frozen=True)
class HasAttribute:
    """The attribute of that name has one of these values; where the catalogue has a list, one of it."""

    name: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class UpdatedAfter:
    """The catalogue's row changed after that moment (UTC)."""

    moment: datetime


Filter = And | Or | Not | InCategory | OfBrand | PriceBetween | IsAvailable | HasAttribute | UpdatedAfter


def matching(wanted: Filter, items: Properties) -> np.ndarray:
    """(n_items,) bool: which items fulfil the filter. Names and values are compared without case."""
    match wanted:
        case And(filters):
            found = np.ones(items.n_items, dtype=bool)
            for one in filters:
                found &= matching(one, items)
            return found
        case Or(filters):
            found = np.zeros(items.n_items, dtype=bool)
            for one in filters:
                found |= matching(one, items)
            return found
        case Not(one):
            return ~matching(one, items)
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
    found = np.zeros(items.n_items, dtype=bool)
    for value in values:
        rows = items.attribute_rows.get((name, value))
        if rows is not None:
            found[rows] = True
    return found
