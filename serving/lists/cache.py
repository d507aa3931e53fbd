"""The lists of the last minute. Who asks the same again, while nothing has happened, gets the same list again."""

from __future__ import annotations

import weakref
from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from recsys.result_cache import ResultCache
from recsys.slate import Slate
from serving.lists.conversion import SettledRequest
from serving.releases.active import ActiveRelease

KEPT_FOR: Final = timedelta(minutes=1)
"""How long ago something was counts in days, so that a list of a minute ago is the list of now."""

LISTS: Final = 4_096
MAX_ITEMS: Final = 25
"""Of longer lists so many would take too much memory: an item with its reason takes one to two kilobytes."""


@dataclass(frozen=True)
class _Kept:
    """live: held weakly, as a release that was replaced must leave the memory."""

    live: weakref.ref[ActiveRelease]
    at: datetime
    slate: Slate


class SlateCache:
    """Lists by all that was asked, the shopper's recent events and the items that are gone among it. A list that quotes
    a review which was hidden since is made anew. Ids of shoppers are not kept."""

    def __init__(self) -> None:
        self._recent: ResultCache[_Kept] = ResultCache(LISTS)

    def find(self, asked: SettledRequest, live: ActiveRelease) -> tuple[SettledRequest, Slate] | None:
        """The list that was made of the same request, and the request as it was asked then: from it the list can be
        made again."""
        kept = self._recent.find(asked.key)
        if kept is None or kept.live() is not live or not timedelta(0) <= asked.at - kept.at < KEPT_FOR:
            return None
        if asked.request.explain and _quotes_any(kept.slate, live.release.recommender.facts.hidden):
            return None
        return replace(asked, at=kept.at), kept.slate

    def keep(self, asked: SettledRequest, live: ActiveRelease, slate: Slate) -> None:
        """Keep a list that was just made."""
        if len(slate.items) <= MAX_ITEMS:
            self._recent.keep(asked.key, _Kept(weakref.ref(live), asked.at, slate))


def _quotes_any(slate: Slate, review_ids: Container[str]) -> bool:
    told = (item.explanation for item in slate.items)
    return any(one is not None and one.quote is not None and one.quote.review_id in review_ids for one in told)
