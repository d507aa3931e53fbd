"""The stored form of a list: what earlier releases of the service have written must still be read."""

import json
from datetime import UTC, datetime
from typing import Any

from features.live.answer_log import Answer
from recsys.config import ArmSettings
from recsys.experiments import Assignment
from serving.lists.record import Content, ServedList, to_answer
from serving.lists.request import SettledRequest
from serving.schemas.list_options import ListRequest

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
REQUEST: dict[str, Any] = {
    "user_id": "ann",
    "session": [{"item_id": "lamp", "event_type": "view", "timestamp": "2026-01-01T11:00:00Z"}],
    "count": 2,
    "filter": {"price": {"max": 100.0}},
}
STORED = {
    "request": REQUEST,
    "is_search": False,
    "by_ranker": True,
    "item_ids": ["sock", "vase"],
    "experiment": "mix",
    "arm": "a",
}
"""As version 0.1.0 writes it."""

SETTLED = SettledRequest(ListRequest.model_validate(REQUEST), NOON, frozenset({"rug"}), is_search=False, by_ranker=True)


def test_a_list_is_stored_as_before() -> None:
    served = ServedList("id1", "r1", SETTLED, ("sock", "vase"), Assignment("mix", "a", ArmSettings()))
    answer = to_answer(served)
    assert json.loads(answer.content) == STORED
    assert (answer.recommendation_id, answer.at, answer.user_id, answer.release_id) == ("id1", NOON, "ann", "r1")
    assert answer.left_out == {"rug"}


def test_a_stored_list_is_read_with_fields_of_a_later_version_ignored() -> None:
    answer = Answer("id1", NOON, "ann", "r1", frozenset({"rug"}), json.dumps(STORED | {"of_a_later_version": 1}))
    content = Content.model_validate_json(answer.content)
    settled = content.settled(answer)
    assert content.item_ids == ("sock", "vase")
    assert (content.experiment, content.arm) == ("mix", "a")
    assert settled.request.model_dump(exclude_unset=True) == SETTLED.request.model_dump(exclude_unset=True)
    assert (settled.at, settled.unavailable_ids) == (NOON, {"rug"})
    assert (settled.is_search, settled.by_ranker) == (False, True)
