"""What the sequence model made of the histories that were read last.

The shelves of one page ask with the same history, and many shoppers do nothing between two of their requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from recsys.users import History

DIGEST_BYTES = 16


class RecentReads:
    """Query vectors by the history that they were read from, first in first out. size: how many are kept."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._vectors: dict[bytes, np.ndarray] = {}

    def of(self, history: History, texts: np.ndarray, read: Callable[[], np.ndarray]) -> np.ndarray:
        """(1, dim): what `read` answered for this history last, or answers now. texts: what text rows point into."""
        key = _digest(history, texts)
        vector = self._vectors.get(key)
        if vector is None:
            vector = read()
            if len(self._vectors) >= self._size:
                # Not `popitem`: another thread may be at the same.
                self._vectors.pop(next(iter(self._vectors), b""), None)
            self._vectors[key] = vector
        return vector


def _digest(history: History, texts: np.ndarray) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for column in (history.item_rows, history.text_rows, history.event_types, history.timestamps, texts):
        digest.update(np.ascontiguousarray(column).data)
    return digest.digest()
