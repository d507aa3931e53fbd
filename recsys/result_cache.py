"""What was worked out for the last shoppers, by all that it was worked out from.

The shelves of one page ask with the same history, and many shoppers do nothing between two of their requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

import numpy as np

DIGEST_BYTES: Final = 16

T = TypeVar("T")


class ResultCache(Generic[T]):
    """Results by key, first in first out. size: how many are kept."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._found: dict[Hashable, T] = {}

    def of(self, key: Hashable, work_out: Callable[[], T]) -> T:
        """What `work_out` answered for this key last, or answers now. Callers must not change it."""
        found = self.find(key)
        if found is None:
            found = work_out()
            self.keep(key, found)
        return found

    def keep(self, key: Hashable, found: T) -> None:
        """Keep this under the key, whatever was kept there."""
        if len(self._found) >= self._size:
            # Not `popitem`: another thread may be at the same.
            self._found.pop(next(iter(self._found), b""), None)
        self._found[key] = found

    def find(self, key: Hashable) -> T | None:
        """What is kept under this key."""
        return self._found.get(key)


def digest_of(*arrays: np.ndarray) -> bytes:
    """Of the arrays' content, and of how it is divided among them."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for array in arrays:
        digest.update(array.size.to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
