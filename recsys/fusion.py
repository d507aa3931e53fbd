"""The sources' scores become one: a weighted sum of z-scores, with weights learned on a later slice of time.

The part of the text-only sources fades as an item gathers data of its own: an item seen often is better described by
who bought it than by its description (docs/decisions.md has the figures).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from pydantic import ConfigDict, TypeAdapter

from recsys.metrics import ndcg
from recsys.source_names import current_source


@dataclass(frozen=True)
class Fused:
    """The sources' scores of one shopper and what each counts.

    standard: (n_sources, n_items) float32 z-scores; weights: (n_sources,) float32; fades: (n_sources,) bool, whose
    weight falls with an item's own data, by `fading`, (n_items,) float32. Shared by requests: nobody changes it.
    """

    standard: np.ndarray
    weights: np.ndarray
    fades: np.ndarray
    fading: np.ndarray

    @cached_property
    def totals(self) -> np.ndarray:
        """(n_items,) float32 the fused score of every item: the sum of what the sources add."""
        totals: np.ndarray = np.where(self.fades, np.float32(0.0), self.weights) @ self.standard
        if self.fades.any():
            totals += self.fading * (self.weights[self.fades] @ self.standard[self.fades])
        return totals

    @cached_property
    def speaks(self) -> np.ndarray:
        """(n_sources,) bool: which sources say anything of this shopper."""
        speaks: np.ndarray = self.standard.any(axis=1) & (self.weights != 0)
        return speaks

    def added(self, rows: np.ndarray) -> np.ndarray:
        """(n_sources, len(rows)) what each source adds to the scores of these items."""
        added: np.ndarray = self.weights[:, None] * self.standard[:, rows]
        added[self.fades] *= self.fading[rows]
        return added

    def with_source(self, scores: np.ndarray) -> Fused:
        """The same with a further source, which adds its (n_items,) scores as they are."""
        return replace(
            self,
            standard=np.concatenate([self.standard, scores[None]]),
            weights=np.append(self.weights, np.float32(1.0)),
            fades=np.append(self.fades, False),
        )


log = logging.getLogger(__name__)

FADING: Final = frozenset({"text"})
"""Sources whose weight falls with the item's own interactions."""

IMPERSONAL: Final = frozenset({"trending", "popular"})
QUERY_TEXT: Final = "query_text"

STEPS: Final = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Weights tried for each source. None is 0: for some shopper each source is the only one that speaks."""

FADES: Final = (3.0, 10.0, 30.0, 100.0, float("inf"))
DECAYS: Final = (0.7, 0.8, 0.9, 0.97)
FITTED_AT: Final = 50
MAX_SWEEPS: Final = 4


@dataclass(frozen=True)
class Fusion:
    """How much each source counts.

    weights: by source name, only their proportions count; fade_items: interactions at which a fading source has half
    its weight; position_decay: what each step back in a history costs; session_text: what a search or page text of the
    session counts, against a text of the request itself.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="strings")  # fade_items may be infinite

    weights: dict[str, float] = field(
        default_factory=lambda: {
            "sequence": 1.0,
            "linear": 0.2,
            "factors": 0.1,
            "text": 0.2,
            "browsing": 0.2,
            "buy_again": 1.0,
            "trending": 0.2,
            "popular": 0.05,
        }
    )
    fade_items: float = 30.0
    position_decay: float = 0.8
    session_text: float = 1.0

    def save(self, path: Path) -> None:
        path.write_bytes(_STORED.dump_json(self, indent=2))

    @classmethod
    def load(cls, path: Path) -> Fusion:
        """Names of sources in an older file become today's. Raises ValueError for what is no such file."""
        stored = _STORED.validate_json(path.read_bytes())
        return replace(stored, weights={current_source(name): weight for name, weight in stored.weights.items()})

    def fused(
        self, names: Sequence[str], standard: np.ndarray, popularity: np.ndarray, text_weight: np.ndarray
    ) -> list[Fused]:
        """One for each of n shoppers.

        standard: (n_sources, n, n_items) `z_scores` of what the sources gave; popularity: (n_items,) interactions of
        each item; text_weight: (n,) weight of the source "query_text" against all others together.
        """
        places = [place for place, name in enumerate(names) if name != QUERY_TEXT]
        weights = np.empty(standard.shape[:2], dtype=np.float32)
        weights[places] = self.shares([names[place] for place in places], (standard[places] != 0).any(axis=2))
        if QUERY_TEXT in names:
            weights[names.index(QUERY_TEXT)] = text_weight
        fades, fading = np.array([name in FADING for name in names]), self.fading(popularity)
        return [Fused(standard[:, row], weights[:, row], fades, fading) for row in range(standard.shape[1])]

    def shares(self, names: Sequence[str], speaks: np.ndarray) -> np.ndarray:
        """(n_sources, n) float32 weights for n shoppers, those of all sources together 1.

        speaks: (n_sources, n) bool. A source without evidence leaves its share to those that know the shopper, and
        not to what is the same for everyone.
        """
        weights = np.array([self.weights[name] for name in names])[:, None] / sum(self.weights[name] for name in names)
        personal = np.array([name not in IMPERSONAL for name in names])[:, None]
        speaking = np.where(speaks & personal, weights, 0.0).sum(axis=0)
        scale = np.divide((weights * personal).sum(), speaking, out=np.ones_like(speaking), where=speaking > 0)
        return (weights * speaks * np.where(personal, scale, 1.0)).astype(np.float32)

    def fading(self, popularity: np.ndarray) -> np.ndarray:
        """1 for an item without interactions, 1/2 at `fade_items`, towards 0 beyond."""
        return (1.0 / (1.0 + popularity / self.fade_items)).astype(np.float32)


_STORED: Final = TypeAdapter(Fusion)


def z_scores(scores: np.ndarray) -> np.ndarray:
    """Each row over its last axis to mean 0 and deviation 1, float32; a constant row (no evidence) becomes 0."""
    centred = scores - scores.mean(axis=-1, keepdims=True, dtype=np.float32)
    deviation = np.sqrt(np.mean(np.square(centred), axis=-1, keepdims=True))
    safe = np.where(deviation > 1e-9, deviation, np.inf)
    standard: np.ndarray = centred / safe
    return standard


@dataclass(frozen=True)
class Pool:
    """Validation users with the items that any source would propose to them.

    scores: (n_sources, n_users, n_pool) z-scores, 0-padded; popularity: (n_users, n_pool); valid: which entries are
    items that may be shown; target: (n_users,) position of the held-out item in the pool, -1 where no source has it;
    speaks: (n_sources, n_users), which sources have evidence; text_weight: (n_users,) weight of the
    source "query_text".
    """

    names: tuple[str, ...]
    scores: np.ndarray
    popularity: np.ndarray
    valid: np.ndarray
    target: np.ndarray
    speaks: np.ndarray
    text_weight: np.ndarray


def make_pool(
    names: Sequence[str],
    scores: np.ndarray,
    allowed: np.ndarray,
    text_weight: np.ndarray,
    popularity: np.ndarray,
    target_rows: np.ndarray,
    size: int,
) -> Pool:
    """The union of each source's best `size` allowed items, for each user.

    scores: (n_sources, n_users, n_items) as the sources gave them; allowed: (n_users, n_items) bool; text_weight: as
    in `Pool`.
    """
    standard = z_scores(scores)
    n_sources, n_users, n_items = scores.shape
    size = min(size, n_items)
    chosen = np.zeros((n_users, n_items), dtype=bool)
    for source in range(n_sources):
        masked = np.where(allowed, standard[source], -np.inf)
        best = np.argpartition(-masked, size - 1, axis=1)[:, :size]
        np.put_along_axis(chosen, best, True, axis=1)
    chosen &= allowed
    width = int(chosen.sum(axis=1).max(initial=1))
    rows = np.argsort(~chosen, axis=1, kind="stable")[:, :width]
    valid = np.take_along_axis(chosen, rows, axis=1)
    pooled = np.stack([np.take_along_axis(standard[source], rows, axis=1) for source in range(n_sources)])
    is_target = (rows == target_rows[:, None]) & valid
    target = np.where(is_target.any(axis=1), is_target.argmax(axis=1), -1)
    return Pool(tuple(names), pooled * valid, popularity[rows], valid, target, (standard != 0).any(axis=2), text_weight)


def join_pools(pools: Sequence[Pool]) -> Pool:
    """Pools of different users as one."""
    width = max(pool.valid.shape[1] for pool in pools)

    def padded(array: np.ndarray) -> np.ndarray:
        return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])])

    return Pool(
        pools[0].names,
        np.concatenate([padded(pool.scores) for pool in pools], axis=1),
        np.concatenate([padded(pool.popularity) for pool in pools]),
        np.concatenate([padded(pool.valid) for pool in pools]),
        np.concatenate([pool.target for pool in pools]),
        np.concatenate([pool.speaks for pool in pools], axis=1),
        np.concatenate([pool.text_weight for pool in pools]),
    )


def fit_fusion(pool: Pool, start: Fusion) -> tuple[Fusion, float]:
    """The weights and fade of largest NDCG@50 on `pool`, by coordinate ascent from `start`, and that NDCG.

    Sweeps each weight over `STEPS` and the fade over `FADES` until a sweep changes nothing; a tie keeps the value it
    had, so the result is determined by the input. Why 50, and not likelihood: docs/decisions.md. `pool` is of
    recommenders with the `session_text` 1.
    """
    best = start
    best_ndcg = _pool_ndcg(pool, _weighted_sum(pool, best))
    for _ in range(MAX_SWEEPS):
        before = best
        for changed in _neighbours(pool):
            trial = changed(best)
            reached = _pool_ndcg(pool, _weighted_sum(pool, trial))
            if reached > best_ndcg:
                best, best_ndcg = trial, reached
        if best == before:
            break
    log.info(
        "fusion fitted ndcg_at_50=%.4f decay=%s fade=%s session_text=%s weights=%s",
        best_ndcg,
        best.position_decay,
        best.fade_items,
        best.session_text,
        best.weights,
    )
    return best, best_ndcg


def _neighbours(pool: Pool) -> Iterator[Callable[[Fusion], Fusion]]:
    """Every step that a sweep tries, as a change of the best fusion so far."""
    for name in pool.names:
        for step in STEPS if name != QUERY_TEXT else ():
            yield partial(_with_weight, name, step)
    for step in STEPS if pool.text_weight.any() else ():
        yield partial(_with_session_text, step)
    for fade in FADES:
        yield partial(_with_fade, fade)


def _with_weight(name: str, weight: float, fusion: Fusion) -> Fusion:
    return replace(fusion, weights={**fusion.weights, name: weight})


def _with_session_text(weight: float, fusion: Fusion) -> Fusion:
    return replace(fusion, session_text=weight)


def _with_fade(fade: float, fusion: Fusion) -> Fusion:
    return replace(fusion, fade_items=fade)


def _weighted_sum(pool: Pool, fusion: Fusion) -> np.ndarray:
    total = np.zeros(pool.valid.shape, dtype=np.float32)
    places = [place for place, name in enumerate(pool.names) if name != QUERY_TEXT]
    shares = fusion.shares([pool.names[place] for place in places], pool.speaks[places])
    for place, share in zip(places, shares, strict=True):
        added = share[:, None] * pool.scores[place]
        total += added * fusion.fading(pool.popularity) if pool.names[place] in FADING else added
    if QUERY_TEXT in pool.names:
        total += fusion.session_text * pool.text_weight[:, None] * pool.scores[pool.names.index(QUERY_TEXT)]
    return total


def _pool_ndcg(pool: Pool, totals: np.ndarray) -> float:
    target_scores = np.take_along_axis(totals, np.maximum(pool.target, 0)[:, None], axis=1)
    above = ((totals >= target_scores) & pool.valid).sum(axis=1) - 1
    return float(ndcg(np.where(pool.target >= 0, above, FITTED_AT), FITTED_AT).mean())
