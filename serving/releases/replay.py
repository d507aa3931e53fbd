"""Releases served earlier, loaded again to replay the lists that they served."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from recsys.errors import StoreError
from serving.releases.active import ActiveRelease, Source, activate

MAX_RELEASES: Final = 2
"""Each holds the users and titles of a shop in memory."""


class ReleaseGoneError(StoreError):
    """The release has been deleted, or is no longer served."""


@dataclass(frozen=True)
class _Loaded:
    """A release, and the digest of its manifest when it was loaded."""

    active: ActiveRelease
    digest: str | None


class PastReleases:
    """Loads past releases, one at a time and in a thread, and caches the last few that were requested.

    known: returns the releases that are in memory anyway, as published and with later item changes. Where the encoder
    is the same, their text vectors are shared.
    """

    def __init__(self, source: Source, known: Callable[[], Sequence[ActiveRelease]], text_cache: int) -> None:
        self._source = source
        self._known = known
        self._text_cache = text_cache
        self._cache: LRUCache[str, _Loaded] = LRUCache(maxsize=MAX_RELEASES)
        """Used by the one thread alone, so it needs no lock."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="past-releases")

    async def get(self, release_id: str) -> Sequence[ActiveRelease]:
        """The release in each form that is in memory, else loaded from the workspace.

        Raises ReleaseGoneError where it has been deleted, StoreError where it does not load.
        """
        known = [live for live in self._known() if live.release.release_id == release_id]
        return known or [await asyncio.get_running_loop().run_in_executor(self._thread, self._get, release_id)]

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)

    def _get(self, release_id: str) -> ActiveRelease:
        loaded = self._cache.get(release_id)
        digest = self._source.digest(release_id)
        if loaded is None or digest not in (None, loaded.digest):
            try:
                loaded = _Loaded(self._load(release_id), digest)
            except StoreError:
                self._check_exists(release_id)  # it may have been deleted meanwhile
                raise
            self._cache[release_id] = loaded
        return loaded.active

    def _load(self, release_id: str) -> ActiveRelease:
        self._check_exists(release_id)
        # A copy, as reading the values of the cache itself would count as their use.
        known = [*self._known(), *(loaded.active for loaded in copy(self._cache).values())]
        return activate(self._source.load(release_id), self._source, known, self._text_cache)

    def _check_exists(self, release_id: str) -> None:
        if self._source.digest(release_id) is None:
            raise ReleaseGoneError(f"release {release_id} has been deleted")


def served_alone(live: Callable[[], ActiveRelease | None]) -> Callable[[str], Awaitable[Sequence[ActiveRelease]]]:
    """As `PastReleases.get`, for the active release alone."""

    async def get(release_id: str) -> Sequence[ActiveRelease]:
        current = live()
        if current is None or current.release.release_id != release_id:
            raise ReleaseGoneError(f"release {release_id} is no longer served")
        return [current]

    return get
