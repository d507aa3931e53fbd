"""Batches for in-batch negatives: no item occurs twice in a batch; texts of similar length are together."""

from __future__ import annotations

from typing import Final

import numpy as np

SORTED_BATCHES: Final = 32
"""The rows of this many batches, drawn at random, are sorted by length at a time. Sorting all rows would put the rows
of one item next to each other, which have similar lengths but may not share a batch."""

OPEN_BATCHES: Final = 64
"""At most this many incomplete batches wait for further rows."""


def distinct_batches(keys: np.ndarray, lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Row numbers in batches of at most `size`, in random order; no two rows of a batch share a key.

    keys: (n, k) int64, -1 for none; a row may have the same key twice. lengths: (n,) tokens. The remaining rows form
    smaller batches. Of these, batches smaller than a quarter of `size` are dropped if there are larger ones, and
    batches of a single row always, because a row without others has no negatives.
    """
    order = rng.permutation(len(keys))
    window = size * SORTED_BATCHES
    waiting: list[tuple[list[int], set[int]]] = []
    batches: list[list[int]] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        for row in part[np.argsort(lengths[part], kind="stable")].tolist():
            row_keys = {key for key in keys[row].tolist() if key >= 0}
            fitting = next((open_ for open_ in waiting if row_keys.isdisjoint(open_[1])), None)
            if fitting is None:
                if len(waiting) == OPEN_BATCHES:
                    batches.append(waiting.pop(0)[0])
                fitting = ([], set())
                waiting.append(fitting)
            fitting[0].append(row)
            fitting[1].update(row_keys)
            if len(fitting[0]) == size:
                batches.append(fitting[0])
                waiting = [other for other in waiting if other is not fitting]
    batches += [rows for rows, _ in waiting]
    longest = max(map(len, batches), default=0)
    enough = max(2, min(size // 4, longest))
    large_enough = [np.array(rows) for rows in batches if len(rows) >= enough]
    return [large_enough[position] for position in rng.permutation(len(large_enough))]
