"""Which items are the sizes and colours of one product: of these a shopper wants to see one.

Two items are variants of each other where brand, category and the title's stem agree; the stem is the title without the
item's own size, colour, … On the sample storefront, whose true variants are known, that finds more of them and makes
fewer mistakes than a threshold on the cosine of their texts, and an equal text is among them (docs/decisions.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

VARYING: Final = frozenset({"size", "colour", "color", "length", "width", "volume", "weight", "capacity", "pack size"})
"""Attributes that tell variants of one product apart; others tell products apart."""

_WORD = re.compile(r"\w+")


def title_stem(title: str, attributes: Mapping[str, Any]) -> str:
    """The title's words, case folded, less each value of its `VARYING` attributes where it stands first."""
    stem = f" {_words(title)} "
    for name, value in attributes.items():
        if name.strip().casefold() in VARYING:
            for one in value if isinstance(value, list) else [value]:
                said = _words(str(one))
                if said:
                    stem = stem.replace(f" {said} ", " ", 1)
    return stem.strip()


def variant_groups(
    titles: Sequence[str | None], brand: np.ndarray, category: np.ndarray, attributes: Sequence[Mapping[str, Any]]
) -> np.ndarray:
    """(n_items,) int32, equal for variants of one product; an item without a title is alone.

    brand, category: (n_items,) codes.
    """
    groups: dict[object, int] = {}
    found = np.empty(len(titles), dtype=np.int32)
    for row, (title, own) in enumerate(zip(titles, attributes, strict=True)):
        key = row if title is None else (title_stem(title, own), int(brand[row]), int(category[row]))
        found[row] = groups.setdefault(key, len(groups))
    return found


def _words(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))
