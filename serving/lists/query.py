"""From a settled request to the recommender's query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from recsys.query import Query, Signal
from serving.lists.request import SettledRequest
from serving.releases.active import ActiveRelease
from serving.schemas.list_options import with_rules
from serving.schemas.lists import RecommendRequest, SessionEvent, kind_of


async def query_of(settled: SettledRequest, active: ActiveRelease, max_texts: int) -> Query:
    """The query; waits until texts that are not in the cache are encoded. max_texts: as in `texts_of`.

    Raises EncoderError where there are texts to encode and the encoder could not be loaded.
    """
    texts = texts_of(settled.request, max_texts)
    return _query(settled, await active.texts.encode(texts) if texts else [], max_texts)


def known_query_of(settled: SettledRequest, active: ActiveRelease, max_texts: int) -> Query | None:
    """As `query_of`, from any thread and without waiting; None where texts have to be encoded first."""
    texts = texts_of(settled.request, max_texts)
    vectors = active.texts.known(texts) if texts else []
    return None if vectors is None else _query(settled, vectors, max_texts)


def texts_of(request: RecommendRequest, max_texts: int) -> list[str]:
    """The texts to encode: of the session the newest `max_texts`, as encoding takes most of a request's time, then the
    request's own."""
    texts = [text for _, text in _newest_texts(request.session, max_texts)]
    return texts if request.text is None else [*texts, request.text]


def to_query(
    request: RecommendRequest,
    vectors: Sequence[np.ndarray],
    now: datetime,
    max_texts: int,
    unavailable_ids: frozenset[str] = frozenset(),
) -> Query:
    """The query, without the rules of the list.

    vectors: of `texts_of` the request, in its order, each (dim,) of norm 1; now: the time of the request, UTC, which
    events without a timestamp or from the future get; unavailable_ids: items that the list may not hold.
    """
    encoded = _newest_texts(request.session, max_texts)
    by_position = {position: vector for (position, _), vector in zip(encoded, vectors, strict=False)}
    return Query(
        user_id=request.user_id,
        session=tuple(_signals(request.session, by_position, now)),
        item_ids=request.item_ids,
        text_vector=vectors[-1] if request.text is not None else None,
        count=request.count,
        exclude_ids=unavailable_ids.union(request.exclude_ids),
        asked_at=now,
        text=request.text,
    )


def _query(settled: SettledRequest, vectors: Sequence[np.ndarray], max_texts: int) -> Query:
    query = to_query(settled.request, vectors, settled.at, max_texts, settled.unavailable_ids)
    query = with_rules(query, settled.request, search=settled.is_search)
    return query if settled.by_ranker else replace(query, by_ranker=False)


def _newest_texts(session: tuple[SessionEvent, ...], max_texts: int) -> list[tuple[int, str]]:
    """(position in the session, text), oldest first."""
    texts = [(position, event.text) for position, event in enumerate(session) if event.text is not None]
    return texts[len(texts) - max_texts :] if max_texts < len(texts) else texts


def _signals(session: tuple[SessionEvent, ...], vectors: dict[int, np.ndarray], now: datetime) -> Iterator[Signal]:
    for position, event in enumerate(session):
        vector = vectors.get(position)
        if event.item_id is None and vector is None:
            continue
        yield Signal(
            event_type=kind_of(event),
            timestamp=min(event.timestamp or now, now),
            item_id=event.item_id,
            text_vector=vector,
            value=event.value,
            text=event.text,
        )
