"""The stored form of a served list: JSON in the column `content` of `features/live/answer_log.py`, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from features.live.answer_log import Answer
from recsys.experiments import Assignment
from serving.lists.request import SettledRequest
from serving.schemas.list_options import ListRequest
from serving.schemas.lists import SessionEvent


@dataclass(frozen=True)
class ServedList:
    """A list as it was served. assignment: the shopper's arm of an experiment, None outside experiments."""

    recommendation_id: str
    release_id: str
    settled: SettledRequest
    item_ids: tuple[str, ...]
    assignment: Assignment | None


class StoredEvent(SessionEvent):
    """An event of a stored session, whose text was cleaned when it arrived."""

    text: str | None = None


class StoredRequest(ListRequest):
    """A request that was validated when it arrived: texts are not cleaned again, and the session may be longer than a
    client may send, as events from the event log precede it."""

    session: tuple[StoredEvent, ...] = ()
    text: str | None = None


class Content(BaseModel):
    """What is stored of a list beside the columns. Fields that another version added are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request: StoredRequest
    is_search: bool
    by_ranker: bool
    item_ids: tuple[str, ...]
    experiment: str | None = None
    arm: str | None = None

    def settled(self, answer: Answer) -> SettledRequest:
        """The request as it was served; answer: the row that holds this content."""
        return SettledRequest(self.request, answer.at, answer.left_out, self.is_search, self.by_ranker)


def to_answer(served: ServedList) -> Answer:
    """The row of the list."""
    settled, assignment = served.settled, served.assignment
    content = {
        "request": settled.request.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "is_search": settled.is_search,
        "by_ranker": settled.by_ranker,
        "item_ids": served.item_ids,
        "experiment": assignment and assignment.experiment,
        "arm": assignment and assignment.arm,
    }
    return Answer(
        recommendation_id=served.recommendation_id,
        at=settled.at,
        user_id=settled.request.user_id,
        release_id=served.release_id,
        left_out=settled.unavailable_ids,
        content=json.dumps(content, ensure_ascii=False),
    )
