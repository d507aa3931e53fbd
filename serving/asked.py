"""A request as it is answered: its session completed, its presets filled in; from it a list can be made again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import numpy as np

from recsys.query import Query
from recsys.recommend import Begun, Recommender
from recsys.result_cache import DIGEST_BYTES
from recsys.slate import Slate
from serving.query import texts_of, to_query
from serving.release_watch import Live
from serving.rules import ListRequest, with_rules
from serving.tracing import note, span


@dataclass(frozen=True)
class Asked:
    """request: settled (`serving/rules.py`), its session preceded by what the event log knew; gone: ids of items that
    no list could hold; is_search: whether it came as a search; by_ranker: whether trees may order the list."""

    request: ListRequest
    at: datetime
    gone: frozenset[str]
    is_search: bool
    by_ranker: bool

    @cached_property
    def key(self) -> Hashable:
        """Of all but the time; it tells nobody's id."""
        spelled = self.request.model_dump_json(exclude_unset=True).encode()
        return hashlib.blake2b(spelled, digest_size=DIGEST_BYTES).digest(), self.gone, self.is_search, self.by_ranker


async def query_of(asked: Asked, live: Live, max_texts: int) -> Query:
    """What the recommender is asked; waits for texts that are not in the cache. max_texts: as in `texts_of`."""
    wanted = texts_of(asked.request, max_texts)
    return _query(asked, await live.texts.encode(wanted) if wanted else [], max_texts)


def known_query_of(asked: Asked, live: Live, max_texts: int) -> Query | None:
    """The same at once and from any thread; None where texts have to be encoded first."""
    wanted = texts_of(asked.request, max_texts)
    vectors = live.texts.known(wanted) if wanted else []
    return None if vectors is None else _query(asked, vectors, max_texts)


def _query(asked: Asked, vectors: Sequence[np.ndarray], max_texts: int) -> Query:
    query = to_query(asked.request, vectors, asked.at, max_texts, asked.gone)
    query = with_rules(query, asked.request, search=asked.is_search)
    return query if asked.by_ranker else replace(query, by_ranker=False)


def slate_of(query: Query, live: Live) -> Slate:
    """The list."""
    return _traced(query, live, lambda recommender: recommender.recommend([query])[0])


def begun_of(query: Query, live: Live) -> Slate | Begun | None:
    """As much of the list as the event loop may make: all of it where little is to do, else it begun, where it is
    plain."""
    begun = live.release.recommender.begin(query)
    return finished(begun, live) if begun is not None and begun.is_quick else begun


def finished(begun: Begun, live: Live) -> Slate:
    """The list that this release's recommender has begun."""
    return _traced(begun.query, live, lambda recommender: recommender.finish(begun))


def _traced(query: Query, live: Live, make: Callable[[Recommender], Slate]) -> Slate:
    with span("recommend", count=query.count, release_id=live.release.release_id) as ranked:
        slate = make(live.release.recommender)
        note(ranked, items=len(slate.items), fallback=slate.fallback or "none")
    return slate
