"""Batches for in-batch negatives: no item twice, and texts of like length together."""

from __future__ import annotations

from typing import Final

import numpy as np

SORTED_BATCHES: Final = 32
"""So many batches' rows, drawn at random, are sorted by length at a time. Sorting all would bring the rows of one item,
which are of like length and exclude each other, all together."""

OPEN_BATCHES: Final = 64
"""So many batches may be waiting for rows that fit them."""


def distinct_batches(keys: np.ndarray, lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows in batches of at most `size`, in random order, in none of which two rows share a key.

    keys: (n, k) int64, -1 for none; a row may hold the same key twice. lengths: (n,) tokens. What is left over in the
    end makes smaller batches, of which those under a quarter of `size` are dropped where there are others, as are
    batches of a single row, which has nothing to be told apart from.
    """
    order = rng.permutation(len(keys))
    window = size * SORTED_BATCHES
    waiting: list[tuple[list[int], set[int]]] = []
    batches: list[list[int]] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        for row in part[np.argsort(lengths[part], kind="stable")].tolist():
            own = {key for key in keys[row].tolist() if key >= 0}
            fitting = next((open_ for open_ in waiting if own.isdisjoint(open_[1])), None)
            if fitting is None:
                if len(waiting) == OPEN_BATCHES:
                    batches.append(waiting.pop(0)[0])
                fitting = ([], set())
                waiting.append(fitting)
            fitting[0].append(row)
            fitting[1].update(own)
            if len(fitting[0]) == size:
                batches.append(fitting[0])
                waiting = [other for other in waiting if other is not fitting]
    batches += [rows for rows, _ in waiting]
    longest = max(map(len, batches), default=0)
    enough = max(2, min(size // 4, longest))
    kept = [np.array(rows) for rows in batches if len(rows) >= enough]
    return [kept[position] for position in rng.permutation(len(kept))]
