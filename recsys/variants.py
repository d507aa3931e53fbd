"""Which items are the sizes and colours of one product: of these a shopper wants to see one.

Items for which the shop states a group, in the attribute `group`, are variants of those with the same group and of no
others. Two other items are variants of each other where brand, category and the title's stem agree; the stem is the
title without the item's own size, colour, … On the sample storefront, whose true variants are known, that finds more of
them and makes fewer mistakes than a threshold on the cosine of their texts, and an equal text is among them
(docs/decisions.md).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

VARYING: Final = frozenset({"size", "colour", "color", "length", "width", "volume", "weight", "capacity", "pack size"})
"""Attributes that tell variants of one product apart; others tell products apart."""

GROUP: Final = "group"
"""The attribute by which a shop states which items are variants of one product."""

_WORD = re.compile(r"\w+")


def title_stem(title: str, attributes: Mapping[str, Any]) -> str:
    """The title's words, case folded, less each value of its `VARYING` attributes where it stands first."""
    stem = f" {_words(title)} "
    for name, value in attributes.items():
        if name.strip().casefold() in VARYING:
            for element in value if isinstance(value, list) else [value]:
                value_words = _words(str(element))
                if value_words:
                    stem = stem.replace(f" {value_words} ", " ", 1)
    return stem.strip()


def stated_group(attributes: Mapping[str, Any]) -> str:
    """The group that the shop states, "" where it states none."""
    group = attributes.get(GROUP)
    return group.strip() if isinstance(group, str) else ""


def variant_groups(
    titles: Sequence[str | None], brand: np.ndarray, category: np.ndarray, attributes: Sequence[Mapping[str, Any]]
) -> np.ndarray:
    """(n_items,) int32, equal for variants of one product; an item without group and title is alone.

    brand, category: (n_items,) codes.
    """
    groups: dict[object, int] = {}
    group_of = np.empty(len(titles), dtype=np.int32)
    for row, (title, item_attributes) in enumerate(zip(titles, attributes, strict=True)):
        key: object = row
        if stated := stated_group(item_attributes):
            key = (GROUP, stated)
        elif title is not None:
            key = (title_stem(title, item_attributes), int(brand[row]), int(category[row]))
        group_of[row] = groups.setdefault(key, len(groups))
    return group_of


def _words(text: str) -> str:
    return " ".join(_WORD.findall(unicodedata.normalize("NFC", text.casefold())))
