"""How an answered request is written down, and read again: JSON in the column `content` of
`features/live/answer_log.py`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from features.live.answer_log import Answer
from recsys.experiments import Assignment
from serving.lists.conversion import SettledRequest
from serving.schemas.list_options import ListRequest
from serving.schemas.lists import SessionEvent


@dataclass(frozen=True)
class ServedList:
    """A list as it was given. assignment: the shopper's part in an experiment, if any."""

    recommendation_id: str
    release_id: str
    asked: SettledRequest
    item_ids: tuple[str, ...]
    assignment: Assignment | None


class StoredEvent(SessionEvent):
    text: str | None = None


class StoredRequest(ListRequest):
    """Checked when it came: texts are not cleaned again, and events of the log may have lengthened the session."""

    session: tuple[StoredEvent, ...] = ()
    text: str | None = None


class Content(BaseModel):
    """What is kept of an answer beside the columns. Fields of another version are left unread."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request: StoredRequest
    is_search: bool
    by_ranker: bool
    item_ids: tuple[str, ...]
    experiment: str | None = None
    arm: str | None = None

    def asked(self, answer: Answer) -> SettledRequest:
        """The request as it was answered."""
        return SettledRequest(self.request, answer.at, answer.left_out, self.is_search, self.by_ranker)


def to_answer(answered: ServedList) -> Answer:
    """As it is stored."""
    asked, part = answered.asked, answered.assignment
    content = {
        "request": asked.request.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "is_search": asked.is_search,
        "by_ranker": asked.by_ranker,
        "item_ids": answered.item_ids,
        "experiment": part and part.experiment,
        "arm": part and part.arm,
    }
    return Answer(
        recommendation_id=answered.recommendation_id,
        at=asked.at,
        user_id=asked.request.user_id,
        release_id=answered.release_id,
        left_out=asked.gone,
        content=json.dumps(content, ensure_ascii=False),
    )
