"""What a request may ask of its list beyond who it is for: what goes in, what goes first, how mixed it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from recsys.filters import Filter


@dataclass(frozen=True)
class Boost:
    """Items that fulfil the filter are lifted (factor above 1) or lowered (below 1); 0 puts them after all others.

    `factor` multiplies the odds of an item against one of equal score, see `recsys.rerank`.
    """

    filter: Filter
    factor: float


@dataclass(frozen=True)
class Pin:
    """An item and the place it takes, from 1."""

    item_id: str
    position: int


@dataclass(frozen=True)
class Rules:
    """The plain ones change nothing.

    filter: what may be shown at all; diversity: 0 to 1, how much unlikeness counts against the score; max_per_category
    and max_per_brand: most items of one in the list, 0 for no limit; collapse_variants: of a product's sizes and
    colours one at most; new_items: share of places kept for new items, None as the shop has it.
    """

    filter: Filter | None = None
    boosts: tuple[Boost, ...] = ()
    pins: tuple[Pin, ...] = ()
    diversity: float = 0.0
    max_per_category: int = 0
    max_per_brand: int = 0
    collapse_variants: bool = False
    new_items: float | None = None


PLAIN: Final = Rules()
