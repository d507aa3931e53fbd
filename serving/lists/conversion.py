"""A request as it is answered: its session completed, its presets filled in; from it a list can be made again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any

import numpy as np
from starlette.responses import Response

from recsys.experiments import Assignment
from recsys.query import Query, Signal
from recsys.recommend import PreparedList, Recommender
from recsys.result_cache import DIGEST_BYTES
from recsys.slate import RankedItem, Slate
from serving.ingress.problems import FieldProblem, ProblemError
from serving.lists.ids import new_id
from serving.releases.active import ActiveRelease
from serving.schemas.list_options import ListRequest, with_rules
from serving.schemas.lists import (
    Evidence,
    ItemProperties,
    Reason,
    RecommendRequest,
    SessionEvent,
    SlateItem,
    SlateResponse,
    kind_of,
)
from serving.telemetry.tracing import note, span


def texts_of(request: RecommendRequest, max_texts: int) -> list[str]:
    """The texts that the request is read by: of its session's the newest `max_texts`, as encoding is what a request
    spends its time on; then its own."""
    wanted = [text for _, text in _newest_texts(request.session, max_texts)]
    return wanted if request.text is None else [*wanted, request.text]


def to_query(
    request: RecommendRequest,
    vectors: Sequence[np.ndarray],
    now: datetime,
    max_texts: int,
    gone: frozenset[str] = frozenset(),
) -> Query:
    """What the recommender is asked.

    vectors: of `texts_of` the request, in its order, each (dim,) of norm 1; now: the time of the request, UTC; an event
    without a timestamp or from the future gets it; gone: ids of items that no list may hold.
    """
    readable = _newest_texts(request.session, max_texts)
    by_position = {position: vector for (position, _), vector in zip(readable, vectors, strict=False)}
    return Query(
        user_id=request.user_id,
        session=tuple(_signals(request.session, by_position, now)),
        item_ids=request.item_ids,
        text_vector=vectors[-1] if request.text is not None else None,
        count=request.count,
        exclude_ids=gone.union(request.exclude_ids),
        asked_at=now,
        text=request.text,
    )


def to_response(
    slate: Slate,
    release_id: str,
    now: datetime,
    took_ms: float,
    items: Sequence[SlateItem] | None = None,
    assignment: Assignment | None = None,
) -> SlateResponse:
    """The slate as it is sent, under a new recommendation id. items: where more is told of them than their places;
    assignment: the shopper's part in an experiment."""
    said: dict[str, Any] = {}  # what is not set is not sent
    if slate.n_matched is not None:
        said["n_matched"] = slate.n_matched
    if assignment is not None:
        said |= {"experiment": assignment.experiment, "arm": assignment.arm}
    return SlateResponse(
        recommendation_id=new_id(now),
        items=[slate_item(item) for item in slate.items] if items is None else list(items),
        fallback=slate.fallback,
        release_id=release_id,
        took_ms=round(took_ms, 3),
        **said,
    )


def sent(response: SlateResponse) -> Response:
    """The response as JSON, without what is not set. FastAPI would check once more what was just made, and walk through
    it twice: a third of a millisecond of each list."""
    return Response(response.model_dump_json(exclude_unset=True), media_type="application/json")


def slate_item(item: RankedItem) -> SlateItem:
    """One place of the list as it is sent."""
    return SlateItem(item_id=item.item_id, score=item.score, rank=item.rank, source=item.source, title=item.title)


def check_count(count: int, max_count: int) -> None:
    """Raise a ProblemError for more items than this shop's `recommend.max_count`."""
    if count > max_count:
        message = f"{count} is more than {max_count}, the most items of one list"
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            f"count: {message}",
            [FieldProblem(field="count", message=message)],
        )


def _newest_texts(session: tuple[SessionEvent, ...], max_texts: int) -> list[tuple[int, str]]:
    found = [(position, event.text) for position, event in enumerate(session) if event.text is not None]
    return found[len(found) - max_texts :] if max_texts < len(found) else found


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


@dataclass(frozen=True)
class SettledRequest:
    """request: settled (`serving/schemas/list_options.py`), its session preceded by what the event log knew; gone: ids
    of items that no list could hold; is_search: whether it came as a search; by_ranker: whether trees may order the
    list."""

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


async def query_of(asked: SettledRequest, live: ActiveRelease, max_texts: int) -> Query:
    """What the recommender is asked; waits for texts that are not in the cache. max_texts: as in `texts_of`."""
    wanted = texts_of(asked.request, max_texts)
    return _query(asked, await live.texts.encode(wanted) if wanted else [], max_texts)


def known_query_of(asked: SettledRequest, live: ActiveRelease, max_texts: int) -> Query | None:
    """The same at once and from any thread; None where texts have to be encoded first."""
    wanted = texts_of(asked.request, max_texts)
    vectors = live.texts.known(wanted) if wanted else []
    return None if vectors is None else _query(asked, vectors, max_texts)


def _query(asked: SettledRequest, vectors: Sequence[np.ndarray], max_texts: int) -> Query:
    query = to_query(asked.request, vectors, asked.at, max_texts, asked.gone)
    query = with_rules(query, asked.request, search=asked.is_search)
    return query if asked.by_ranker else replace(query, by_ranker=False)


def slate_of(query: Query, live: ActiveRelease) -> Slate:
    """The list."""
    return _traced(query, live, lambda recommender: recommender.recommend([query])[0])


def begun_of(query: Query, live: ActiveRelease) -> Slate | PreparedList | None:
    """As much of the list as the event loop may make: all of it where little is to do, else it begun, where it is
    plain."""
    begun = live.release.recommender.begin(query)
    return finished(begun, live) if begun is not None and begun.is_quick else begun


def finished(begun: PreparedList, live: ActiveRelease) -> Slate:
    """The list that this release's recommender has begun."""
    return _traced(begun.query, live, lambda recommender: recommender.finish(begun))


def _traced(query: Query, live: ActiveRelease, make: Callable[[Recommender], Slate]) -> Slate:
    with span("recommend", count=query.count, release_id=live.release.release_id) as ranked:
        slate = make(live.release.recommender)
        note(ranked, items=len(slate.items), fallback=slate.fallback or "none")
    return slate


def told_items(slate: Slate, recommender: Recommender, return_properties: bool) -> list[SlateItem]:
    """The items as they are sent; what was not asked for is not set."""
    return [_told(item, recommender, return_properties) for item in slate.items]


def _told(item: RankedItem, recommender: Recommender, return_properties: bool) -> SlateItem:
    sent = slate_item(item)
    if return_properties:
        sent.properties = ItemProperties(**recommender.properties.of_row(recommender.rows[item.item_id]))
    if item.explanation is not None:
        quote = item.explanation.quote
        sent.reason = Reason(**asdict(item.explanation.reason))
        sent.scores = item.explanation.scores
        sent.evidence = None if quote is None else Evidence(**asdict(quote))
    return sent
