"""Releases that were served once, loaded again to replay their lists."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from recsys.errors import StoreError
from serving.releases.active import ActiveRelease, Source, to_live

KEPT: Final = 2
"""Each holds a shop's users and titles in memory."""


class ReleaseGoneError(StoreError):
    """A release that has been deleted."""


class PastReleases:
    """The last few that were asked for stay; one is loaded at a time, in a thread.

    known: what is loaded anyway: releases with the day's products in them and as they were published. Their text
    vectors serve where the encoder is the same.
    """

    def __init__(self, source: Source, known: Callable[[], Sequence[ActiveRelease]], text_cache: int) -> None:
        self._source = source
        self._known = known
        self._text_cache = text_cache
        self._loaded: OrderedDict[str, ActiveRelease] = OrderedDict()
        self._digests: dict[str, str | None] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="past-releases")

    async def get(self, release_id: str) -> Sequence[ActiveRelease]:
        """The release, in each of the forms that are known of it, or loaded.

        Raises ReleaseGoneError where it was collected, StoreError where it does not load.
        """
        known = [live for live in self._known() if live.release.release_id == release_id]
        return known or [await asyncio.get_running_loop().run_in_executor(self._thread, self._get, release_id)]

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)

    def _get(self, release_id: str) -> ActiveRelease:
        live = self._loaded.get(release_id)
        digest = self._source.digest(release_id)
        if live is None or digest not in (None, self._digests[release_id]):
            try:
                live = self._load(release_id)
            except StoreError:
                self._check(release_id)  # it may have been collected meanwhile
                raise
            self._loaded[release_id] = live
            self._digests[release_id] = digest
        self._loaded.move_to_end(release_id)
        while len(self._loaded) > KEPT:
            gone, _ = self._loaded.popitem(last=False)
            del self._digests[gone]
        return live

    def _load(self, release_id: str) -> ActiveRelease:
        self._check(release_id)
        known = [*self._known(), *self._loaded.values()]
        return to_live(self._source.load(release_id), self._source, known, self._text_cache)

    def _check(self, release_id: str) -> None:
        if self._source.digest(release_id) is None:
            raise ReleaseGoneError(f"release {release_id} has been deleted")


def served_alone(live: Callable[[], ActiveRelease | None]) -> Callable[[str], Awaitable[Sequence[ActiveRelease]]]:
    """As `PastReleases.get`, of the release that answers now and no other."""

    async def get(release_id: str) -> Sequence[ActiveRelease]:
        current = live()
        if current is None or current.release.release_id != release_id:
            raise ReleaseGoneError(f"release {release_id} is not served any more")
        return [current]

    return get
