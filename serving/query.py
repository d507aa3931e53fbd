"""A request becomes a `Query`, a `Slate` becomes a response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

import numpy as np
from starlette.responses import Response

from recsys.experiments import Assignment
from recsys.query import Query, Signal
from recsys.slate import RankedItem, Slate
from serving.contract import RecommendRequest, SessionEvent, SlateItem, SlateResponse, kind_of
from serving.ids import new_id
from serving.ingress.problems import FieldProblem, ProblemError


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
