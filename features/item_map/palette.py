"""Colours of groups, on charts and maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recsys.item_groups import ORDERED, OTHER

OKABE_ITO: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b2a100", "#5f5f5f")
"""Distinguishable by colour-blind people (Okabe and Ito 2008); the yellow is darkened for white backgrounds."""

CIVIDIS: Final = ("#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838")
"""From dark to light, also for colour-blind people and in greyscale print."""

OTHERS: Final = "#a3a3a3"


def palette(legend: Sequence[str]) -> list[str]:
    """A colour for each group: from dark to light if the groups are ordered, otherwise those of `OKABE_ITO`."""
    n = len(legend)
    if any(set(legend) <= set(ordered) for ordered in ORDERED.values()) and n > 1:
        return [CIVIDIS[round(place * (len(CIVIDIS) - 2) / (n - 1))] for place in range(n)]
    named = [name for name in legend if name != OTHER]
    return [OTHERS if name == OTHER else OKABE_ITO[named.index(name) % len(OKABE_ITO)] for name in legend]
