"""A cache of the lists of the last minute: the same request gets the same list while nothing has changed."""

from __future__ import annotations

import weakref
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from recsys.result_cache import ResultCache
from recsys.slate import Slate
from serving.lists.request import SettledRequest
from serving.releases.active import ActiveRelease

CACHED_FOR: Final = timedelta(minutes=1)
"""The age of events counts in days, so a list of a minute ago is still right."""

LISTS: Final = 4_096
MAX_ITEMS: Final = 25
"""Longer lists are not cached, for their memory: an item with its explanation takes one to two kilobytes."""


@dataclass(frozen=True)
class CachedSlate:
    """A slate and the time of the request that it was made for.

    active: the release, held weakly, as a release that was replaced must be freed.
    """

    active: weakref.ref[ActiveRelease]
    at: datetime
    slate: Slate


class SlateCache:
    """Slates by `SettledRequest.key`, which covers the shopper's recent events and the unavailable items. A list that
    quotes a review which was hidden since does not count. Ids of shoppers are not stored."""

    def __init__(self) -> None:
        self._slates: ResultCache[CachedSlate] = ResultCache(LISTS)

    def find(self, settled: SettledRequest, active: ActiveRelease) -> CachedSlate | None:
        """The slate of an equal request to the same release; None where there is none, or it is too old."""
        cached = self._slates.find(settled.key)
        if cached is None or cached.active() is not active:
            return None
        if not timedelta(0) <= settled.at - cached.at < CACHED_FOR:
            return None
        if settled.request.explain and _quotes_any(cached.slate, active.release.recommender.facts.hidden):
            return None
        return cached

    def keep(self, settled: SettledRequest, active: ActiveRelease, slate: Slate) -> None:
        """Cache a new slate."""
        if len(slate.items) <= MAX_ITEMS:
            self._slates.keep(settled.key, CachedSlate(weakref.ref(active), settled.at, slate))


def _quotes_any(slate: Slate, review_ids: Container[str]) -> bool:
    quotes = (item.explanation.quote for item in slate.items if item.explanation is not None)
    return any(quote is not None and quote.review_id in review_ids for quote in quotes)
