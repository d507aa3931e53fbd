"""A cache of recent results, by everything that a result depends on.

The lists of one page share a history, and many shoppers do nothing between two of their requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

import numpy as np

DIGEST_BYTES: Final = 16

T = TypeVar("T")


class ResultCache(Generic[T]):
    """Results by key, first in first out. size: the largest number of results. Threads may share it without a lock."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._results: dict[Hashable, T] = {}

    def of(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The cached result of this key, else what `compute` returns, which is cached. Callers must not change it."""
        result = self.find(key)
        if result is None:
            result = compute()
            self.keep(key, result)
        return result

    def keep(self, key: Hashable, result: T) -> None:
        """Cache the result under this key, in place of any that is there."""
        if len(self._results) >= self._size:
            # Not `popitem`: another thread may be doing the same.
            self._results.pop(next(iter(self._results), b""), None)
        self._results[key] = result

    def find(self, key: Hashable) -> T | None:
        """The cached result of this key; None where there is none."""
        return self._results.get(key)


def digest_of(*arrays: np.ndarray) -> bytes:
    """A digest of the arrays' content and of their sizes."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for array in arrays:
        digest.update(array.size.to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
