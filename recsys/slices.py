"""Groups of users whose quality is measured separately: what is good on average may fail new items and new users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

MAX_CATEGORIES: Final = 8
PATH_SEPARATOR: Final = " > "


def frequency_slices(frequency: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> mask, by how many users had the target in training. frequency: (n_users,)."""
    return {
        "target_0": frequency == 0,
        "target_1_4": (frequency >= 1) & (frequency < 5),
        "target_5_19": (frequency >= 5) & (frequency < 20),
        "target_20_up": frequency >= 20,
    }


def history_slices(length: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> mask, by how many items the user had before the target. length: (n_users,)."""
    return {
        "cold_user": length == 0,
        "history_1_4": (length >= 1) & (length < 5),
        "history_5_9": (length >= 5) & (length < 10),
        "history_10_up": length >= 10,
    }


def category_slices(categories: Sequence[str | None]) -> dict[str, np.ndarray]:
    """Name -> mask, by the target's category: the `MAX_CATEGORIES` most frequent and "category_other" for the rest.

    categories: one path a user ("Beauty > Makeup > Nails"). The first level that tells them apart counts, since some
    shops put their own name in front of every path. Without any category there are no slices.
    """
    paths = [path.split(PATH_SEPARATOR) if path else [] for path in categories]
    known_paths = [path for path in paths if path]
    level = 0
    while known_paths and len(known_paths[0]) > level and _agree_at(known_paths, level):
        level += 1
    names = np.array([path[min(level, len(path) - 1)] if path else "" for path in paths], dtype=object)
    counted = sorted(Counter(name for name in names if name).items(), key=lambda item: (-item[1], item[0]))
    if not counted:
        return {}
    frequent = [name for name, _ in counted[:MAX_CATEGORIES]]
    slices = {f"category_{name}": names == name for name in frequent}
    return slices | {"category_other": ~np.isin(names.astype(str), frequent)}


def _agree_at(paths: Sequence[Sequence[str]], level: int) -> bool:
    return len({path[level] if len(path) > level else "" for path in paths}) == 1
