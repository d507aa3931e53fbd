"""From a slate to the response."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from starlette.responses import Response

from recsys.experiments import Assignment
from recsys.explain import Explanation
from recsys.recommend import Recommender
from recsys.slate import Slate
from serving.lists.ids import new_id
from serving.schemas.lists import Evidence, ItemProperties, Reason, SlateItem, SlateResponse

ITEMS: Final = TypeAdapter(list[SlateItem])


def to_response(
    slate: Slate,
    release_id: str,
    now: datetime,
    took_ms: float,
    items: Sequence[SlateItem],
    assignment: Assignment | None = None,
) -> SlateResponse:
    """The slate under a new recommendation id.

    items: as in `response_items`; assignment: the shopper's arm of an experiment, None outside experiments.
    """
    optional: dict[str, Any] = {}  # a field that is not set is not sent
    if slate.n_matched is not None:
        optional["n_matched"] = slate.n_matched
    if slate.relaxed:
        optional["relaxed"] = list(slate.relaxed)
    if assignment is not None:
        optional |= {"experiment": assignment.experiment, "arm": assignment.arm}
    return SlateResponse(
        recommendation_id=new_id(now),
        items=list(items),
        fallback=slate.fallback,
        release_id=release_id,
        took_ms=round(took_ms, 3),
        **optional,
    )


def json_response(response: SlateResponse) -> Response:
    """The response as JSON, without fields that are not set.

    FastAPI would validate the finished response again and walk through it twice, a third of a millisecond a list.
    """
    return Response(response.model_dump_json(exclude_unset=True), media_type="application/json")


def response_items(slate: Slate, recommender: Recommender, return_properties: bool) -> list[SlateItem]:
    """The items of the slate; properties and explanations are set only where the request asked for them."""
    # All at once: one call of pydantic for each item would take one and a half times as long.
    responses = ITEMS.validate_python(
        [
            {
                "item_id": item.item_id,
                "score": item.score,
                "rank": item.rank,
                "source": item.source,
                "title": item.title,
            }
            for item in slate.items
        ]
    )
    for response, item in zip(responses, slate.items, strict=True):
        if return_properties:
            response.properties = ItemProperties(**recommender.properties.of_row(recommender.rows[item.item_id]))
        if item.explanation is not None:
            _explain(response, item.explanation)
    return responses


def _explain(response: SlateItem, explanation: Explanation) -> None:
    quote = explanation.quote
    response.reason = Reason(**vars(explanation.reason))
    response.scores = explanation.scores
    response.evidence = None if quote is None else Evidence(**vars(quote))
