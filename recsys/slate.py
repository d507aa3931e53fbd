"""What is answered: a list of items, best first, and why each is in its place."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.explain import Explanation


@dataclass(frozen=True)
class RankedItem:
    """One place of a slate; `rank` starts at 1, `source` names the evidence that counted most, or is "new" in a place
    that is kept for new items and "pinned" in one that was asked for; `explanation` is there where it was asked for."""

    item_id: str
    score: float
    rank: int
    source: str
    title: str | None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Slate:
    """Best first. `fallback` is None, or a word on why the list is not personal; `n_matched`, where there was a filter,
    counts the items that fulfil it and may be shown to this shopper."""

    items: tuple[RankedItem, ...]
    fallback: str | None
    n_matched: int | None = None
