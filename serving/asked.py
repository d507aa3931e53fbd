"""A request as it is answered: its session completed, its presets filled in; from it a list can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from recsys.query import Query
from recsys.recommend import Slate
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
    with span("recommend", count=query.count, release_id=live.release.release_id) as ranked:
        slate = live.release.recommender.recommend([query])[0]
        note(ranked, items=len(slate.items), fallback=slate.fallback or "none")
    return slate


def slate_at_once(query: Query, live: Live) -> Slate | None:
    """The list, where it takes so little that the event loop may make it; else None."""
    with span("recommend at once", count=query.count, release_id=live.release.release_id) as ranked:
        slate = live.release.recommender.recommend_at_once(query)
        note(ranked, items=len(slate.items) if slate else 0)
    return slate
