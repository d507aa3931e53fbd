"""How every item is judged for one shopper, and by which kind of evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


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
