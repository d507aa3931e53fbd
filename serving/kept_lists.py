"""The lists of the last minute. Who asks the same again, while nothing has happened, gets the same list again."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from recsys.recent import DIGEST_BYTES, Recent
from recsys.recommend import Slate
from serving.asked import Asked
from serving.release_watch import Live

KEPT_FOR: Final = timedelta(minutes=1)
"""How long ago something was counts in days, so that a list of a minute ago is the list of now."""

LISTS: Final = 4_096
MAX_ITEMS: Final = 50
"""Of longer lists so many would take too much memory."""


@dataclass(frozen=True)
class _Kept:
    """live: held weakly, as a release that was replaced must leave the memory."""

    live: weakref.ref[Live]
    at: datetime
    slate: Slate


class KeptLists:
    """Lists by all that was asked, the shopper's recent events and the items that are gone among it.

    Reasons quote reviews, which may be hidden at any moment: explained lists are not kept. Neither are ids of shoppers.
    """

    def __init__(self) -> None:
        self._recent: Recent[_Kept] = Recent(LISTS)

    def find(self, asked: Asked, live: Live) -> tuple[Asked, Slate] | None:
        """The list that was made of the same request, and the request as it was asked then: from it the list can be
        made again."""
        kept = self._recent.find(_key(asked))
        if kept is None or kept.live() is not live or not timedelta(0) <= asked.at - kept.at < KEPT_FOR:
            return None
        return replace(asked, at=kept.at), kept.slate

    def keep(self, asked: Asked, live: Live, slate: Slate) -> None:
        """Keep a list that was just made."""
        if not asked.request.explain and len(slate.items) <= MAX_ITEMS:
            self._recent.keep(_key(asked), _Kept(weakref.ref(live), asked.at, slate))


def _key(asked: Asked) -> Hashable:
    spelled = asked.request.model_dump_json(exclude_unset=True).encode()
    digest = hashlib.blake2b(spelled, digest_size=DIGEST_BYTES).digest()
    return digest, asked.gone, asked.is_search, asked.by_ranker
