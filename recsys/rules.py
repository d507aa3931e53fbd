"""The rules of a list: which items it may hold, which come first, and how diverse it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from recsys.filters import Filter

SEEN_ITEMS: Final = "seen"
LIMITS: Final = ("max_per_category", "max_per_brand", "collapse_variants")
RELAXABLE: Final = (*LIMITS, SEEN_ITEMS)
"""What can give way where a list would be short, in this order; `SEEN_ITEMS`: that items the shopper has seen are left
out."""


@dataclass(frozen=True)
class Boost:
    """Items that fulfil the filter move up (factor above 1) or down (below 1); 0 puts them after all others.

    `factor` multiplies the odds of an item against one of equal score, see `recsys.rerank`.
    """

    filter: Filter
    factor: float


@dataclass(frozen=True)
class Pin:
    """An item and its fixed place, counted from 1."""

    item_id: str
    position: int


@dataclass(frozen=True)
class Rules:
    """The defaults change nothing.

    filter: which items may be shown; diversity: 0 to 1, how much dissimilarity counts against the score;
    max_per_category and max_per_brand: most items of one category or brand in the list, 0 for no limit;
    collapse_variants: show at most one of a product's sizes and colours; new_items: share of places reserved for new
    items, None for the shop's setting; relaxable: names of `RELAXABLE` that give way where a list would be
    shorter than its count.
    """

    filter: Filter | None = None
    boosts: tuple[Boost, ...] = ()
    pins: tuple[Pin, ...] = ()
    diversity: float = 0.0
    max_per_category: int = 0
    max_per_brand: int = 0
    collapse_variants: bool = False
    new_items: float | None = None
    relaxable: frozenset[str] = frozenset({SEEN_ITEMS})


PLAIN: Final = Rules()
