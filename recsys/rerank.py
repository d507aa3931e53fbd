"""Lists under rules: boosts, pins, limits and diversity, place by place.

Boosts work on the final score, that of the fused z-scores with the ranker's order on top. A factor f adds ln f standard
deviations of the scores that may be shown: scores are read as log odds (as LambdaMART's are), so that f multiplies the
odds of the item against any other, and the same factor means the same whoever asks. Then each place takes the item of
largest

    (1 - diversity) * score - diversity * cosine to the nearest item that has a place already

(maximal marginal relevance: Carbonell and Goldstein 1998) with the cosine in the fused item space and scores put
between 0 and 1 over the best few times `count` candidates. Limits apply at each place: an item that would exceed one is
skipped. Where the candidates run out the next best follow. Where every item that is left exceeds a limit, `fill_up`
ends the list by score and relaxes the limits that may be relaxed, one after another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np

from recsys.new_items import is_slot
from recsys.top_k import top_k

POOL_FACTOR: Final = 5
MAX_POOL_EXTRA: Final = 400
"""Candidates of a long list beyond its own length: bounds the time of a list of 1,000."""
NO_VECTORS: Final = np.zeros((0, 0), dtype=np.float32)

_Row = TypeVar("_Row")

Placement = Literal["new", "pinned", "seen"]
NEW: Final[Placement] = "new"
PINNED: Final[Placement] = "pinned"
SEEN: Final[Placement] = "seen"
"""The `source` of an item in a place reserved for new items, of one that the request pinned to its place, and of one
that the shopper has seen, where no other was left."""


@dataclass(frozen=True)
class Limit:
    """At most `most` items of one code. codes: (n_items,) int; a negative code is not limited; name: the rule's."""

    name: str
    codes: np.ndarray
    most: int

    def is_exceeded(self, rows: Sequence[int]) -> bool:
        """Whether these rows are more than `most` of one code."""
        codes = self.codes[list(rows)]
        return bool(np.bincount(codes[codes >= 0]).max(initial=0) > self.most)


def boosted(scores: np.ndarray, hidden_rows: np.ndarray, boosts: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """(n_items,) scores after the boosts, in the order given; boosts: (n_items,) bool masks with their factors."""
    shown = np.ones(len(scores), dtype=bool)
    shown[hidden_rows] = False
    if not shown.any():
        return scores
    deviation = float(scores[shown].std()) or 1.0
    lifted, buried = scores.copy(), np.zeros(len(scores), dtype=bool)
    for mask, factor in boosts:
        if factor > 0:
            lifted[mask] += deviation * np.log(factor)
        else:
            buried |= mask
    lifted[buried] -= np.ptp(lifted[shown]) + deviation
    return lifted


def arrange(
    scores: np.ndarray,
    new_ranked: np.ndarray,
    pinned: Mapping[int, int],
    limits: Sequence[Limit],
    vectors: np.ndarray,
    diversity: float,
    count: int,
    new_item_share: float,
) -> Iterator[tuple[int, Placement | None]]:
    """(row, why it has its place; None: by its score), at most `count` and none twice.

    scores: (n_items,), -inf for what may not be shown; new_ranked: rows of new items, the most promising first, for the
    places reserved for them; pinned: rows by 0-based place, shown whatever their score and counted by the limits;
    vectors: (n_items, dim) of norm 1 or zero. Without pins, limits and diversity the result is that of
    `recsys.new_items.with_new_items`.
    """
    candidates = _Candidates(scores, limits, vectors, diversity, count)
    for pin in pinned.values():
        candidates.take(pin)
    new = iter(new_ranked.tolist())
    left = dict(pinned)
    for place in range(count):
        if place in left:
            yield left.pop(place), PINNED
            continue
        # What does not fit now never will: the iterator need not go back.
        new_row = next((row for row in new if candidates.fits(row)), None) if is_slot(place, new_item_share) else None
        row = candidates.best() if new_row is None else new_row
        if row is None:
            break
        candidates.take(row)
        yield row, None if new_row is None else NEW
    for place in sorted(left):
        if place < count:
            yield left[place], PINNED


def fill_up(
    placed: Sequence[int], scores: np.ndarray, limits: Sequence[Limit], relaxable: Collection[str], count: int
) -> list[int]:
    """Rows, best first, that follow `placed` where the limits end a list before it has `count` items.

    scores: (n_items,), -inf for what may not be shown. The limits that are `relaxable`, by name, no longer apply, one
    after another in the order of `limits`; the others hold.
    """
    rows = list(placed)
    active = list(limits)
    for limit in [None, *(limit for limit in limits if limit.name in relaxable)]:
        if len(rows) >= count:
            break
        if limit is not None:
            active.remove(limit)
        candidates = _Candidates(scores, active, NO_VECTORS, 0.0, count)
        for row in rows:
            candidates.take(row)
        while len(rows) < count and (best := candidates.best()) is not None:
            candidates.take(best)
            rows.append(best)
    return rows[len(placed) :]


def with_pins(rows: Sequence[_Row], pinned: Mapping[int, _Row], count: int) -> list[_Row]:
    """The rows in their order, with the pinned ones at their 0-based places or, in a shorter list, at its end."""
    rest, by_place, result = iter(rows), dict(pinned), list[_Row]()
    for place in range(count):
        row = by_place.pop(place) if place in by_place else next(rest, None)
        if row is not None:
            result.append(row)
    return result


class _Candidates:
    """Items that may still take a place, and how near each is to those that have one."""

    def __init__(
        self, scores: np.ndarray, limits: Sequence[Limit], vectors: np.ndarray, diversity: float, count: int
    ) -> None:
        self.scores = scores
        self.limits = limits
        self.vectors = vectors
        self.diversity = diversity
        self.taken: dict[int, None] = {}
        self._counts: list[dict[int, int]] = [{} for _ in limits]
        self._depth = 0
        self._size = min(POOL_FACTOR * count, count + MAX_POOL_EXTRA)
        self._best, self._span = 0.0, 1.0
        self._load(np.zeros(0, dtype=np.int64))

    def fits(self, row: int) -> bool:
        """Whether the row has no place yet and would exceed no limit."""
        if row in self.taken:
            return False
        return all(
            counts.get(int(limit.codes[row]), 0) < limit.most
            for limit, counts in zip(self.limits, self._counts, strict=True)
        )

    def best(self) -> int | None:
        """The row that comes next; None where nothing is left that fits."""
        while not self._free.any():
            if not self._next_best():
                return None
        value = np.where(self._free, (1.0 - self.diversity) * self._relevance, -np.inf)
        if self.diversity:
            value -= self.diversity * self._nearest
        return int(self._rows[value.argmax()])

    def take(self, row: int) -> None:
        """Give the row a place."""
        self.taken[row] = None
        self._free[self._rows == row] = False
        for limit, counts in zip(self.limits, self._counts, strict=True):
            code = int(limit.codes[row])
            if code < 0:
                continue
            counts[code] = counts.get(code, 0) + 1
            if counts[code] >= limit.most:
                self._free[limit.codes[self._rows] == code] = False
        if self.diversity:
            np.maximum(self._nearest, self._vectors @ self.vectors[row], out=self._nearest)

    def _next_best(self) -> bool:
        """Load the next best candidates, each time twice as many; False where there are none."""
        order = top_k(self.scores, self._depth + self._size)
        rows = order[self._depth :]
        if len(rows) == 0:
            return False
        if self._depth == 0:
            self._best = float(self.scores[rows[0]])
            self._span = self._best - float(self.scores[rows[-1]]) or 1.0
        self._depth += len(rows)
        self._size *= 2
        self._load(rows)
        return True

    def _load(self, rows: np.ndarray) -> None:
        self._rows = rows
        self._relevance = 1.0 - (self._best - self.scores[rows]) / self._span
        taken = list(self.taken)
        self._free = ~np.isin(rows, taken)
        for limit, counts in zip(self.limits, self._counts, strict=True):
            full = [code for code, n in counts.items() if n >= limit.most]
            self._free &= ~np.isin(limit.codes[rows], full)
        if self.diversity:
            self._vectors = self.vectors[rows]
            self._nearest = (self._vectors @ self.vectors[taken].T).max(axis=1, initial=0.0)
