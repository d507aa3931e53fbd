"""The ranked list that is returned: items, best first, and why each has its place."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.explain import Explanation


@dataclass(frozen=True)
class RankedItem:
    """One place of a slate.

    `rank` starts at 1. `source` names the source that added most to the score; it is "new" in a place reserved for new
    items, "pinned" for an item that the request pinned, and "seen" for one that the shopper has seen, where no other
    was left. `explanation` is set where the query asks for it.
    """

    item_id: str
    score: float
    rank: int
    source: str
    title: str | None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Slate:
    """Items, best first. `fallback` is None, or one word for why the list is not personal. With a filter, `n_matched`
    counts the items that fulfil it and may be shown to this shopper. `relaxed` names the rules of `recsys.rules` that
    gave way, as the list would have been short."""

    items: tuple[RankedItem, ...]
    fallback: str | None
    n_matched: int | None = None
    relaxed: tuple[str, ...] = ()
