import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.live.database import LiveDatabase
from features.live.event_log import EventLog
from features.workspace.user_ids import UserIds
from recsys.config import Settings
from recsys.errors import StoreError
from recsys.tables import EVENT_TYPES
from recsys.workspace import Workspace
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.schemas.events import EVENT_EXAMPLES, MAX_EVENTS
from serving.state import ServiceState
from serving.watch.user_ids import UserIdsWatch

VIEW = {"user_id": "zoe", "event_type": "view", "item_id": "boot"}


@pytest.fixture
def log(live_database: LiveDatabase) -> EventLog:
    return EventLog(live_database)


@pytest.fixture
def shop(live: ActiveRelease, log: EventLog) -> Iterator[TestClient]:
    """The service with an event log."""
    with TestClient(
        create_app(Settings(), ServiceState(lambda: live, log.database)), raise_server_exceptions=False
    ) as client:
        yield client


def stored(log: EventLog) -> list[dict[str, Any]]:
    return log.batch(0, log.newest(), 10_000)[0].to_dicts()


def test_an_event_without_id_and_time_gets_both(shop: TestClient, log: EventLog) -> None:
    before = datetime.now(UTC)
    response = shop.post("/v1/events", json=VIEW)
    assert response.status_code == 202
    answer = response.json()
    (row,) = stored(log)
    assert answer == {"accepted": 1, "event_ids": [row["event_id"]], "errors": [], "warnings": []}
    assert before <= row["timestamp"] <= datetime.now(UTC)
    assert (row["user_id"], row["event_type"], row["item_id"]) == ("zoe", "view", "boot")


def test_every_field_is_stored_and_text_is_cleaned(shop: TestClient, log: EventLog) -> None:
    sent = {
        "event_id": "e1",
        "user_id": "zoe",
        "item_id": "boot",
        "event_type": "impression",
        "timestamp": "2026-01-02T03:04:05.000006+01:00",
        "session_id": "s1",
        "text": " warm <b>shoes</b>\n",
        "value": 1.5,
        "recommendation_id": "r1",
        "position": 4,
    }
    assert shop.post("/v1/events", json=sent).json()["event_ids"] == ["e1"]
    at = datetime(2026, 1, 2, 2, 4, 5, 6, tzinfo=UTC)
    assert stored(log) == [sent | {"timestamp": at, "text": "warm shoes"}]


def test_a_retry_changes_nothing_and_is_accepted_again(shop: TestClient, log: EventLog) -> None:
    batch = {"events": [VIEW | {"event_id": "e1"}, VIEW | {"event_id": "e2", "item_id": "coat"}]}
    first, second = (shop.post("/v1/events", json=batch) for _ in range(2))
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert [row["item_id"] for row in stored(log)] == ["boot", "coat"]


def test_of_a_mixed_batch_the_good_are_stored_and_the_bad_listed(shop: TestClient, log: EventLog) -> None:
    future = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    events = [
        VIEW | {"event_id": "good"},
        VIEW | {"event_type": "vieww"},
        {"user_id": "zoe", "event_type": "view"},
        "no object",
        VIEW | {"timestamp": future},
        VIEW | {"price": 3, "position": -1},
        VIEW | {"event_id": "also good"},
    ]
    response = shop.post("/v1/events", json={"events": events})
    assert response.status_code == 202
    answer = response.json()
    assert answer["accepted"] == 2
    assert answer["event_ids"] == ["good", None, None, None, None, None, "also good"]
    problems = [(error["index"], error["field"]) for error in answer["errors"]]
    assert problems == [(1, "event_type"), (2, ""), (3, ""), (4, "timestamp"), (5, "position"), (5, "price")]
    assert "use one of impression, view" in answer["errors"][0]["message"]
    assert answer["errors"][1]["message"] == "an event needs item_id or text"
    assert [row["event_id"] for row in stored(log)] == ["good", "also good"]


def test_where_no_event_is_good_nothing_is_accepted(shop: TestClient, log: EventLog) -> None:
    response = shop.post("/v1/events", json={"events": [VIEW | {"user_id": ""}, {"user_id": "u"}]})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    fields = [error["field"] for error in response.json()["errors"]]
    assert fields == ["events.0.user_id", "events.1.event_type"]
    assert log.newest() == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event_type": "search"}, ""),
        ({"event_type": "rating", "value": 6}, ""),
        ({"user_id": "a\x00b"}, "user_id"),
        ({"timestamp": "1970-01-01T00:00:00Z"}, "timestamp"),
        ({"position": 2**31}, "position"),
        ({"text": "<br>"}, "text"),
        ({"event_id": "e" * 513}, "event_id"),
    ],
)
def test_a_bad_event_is_told_what_is_wrong(shop: TestClient, change: dict[str, Any], field: str) -> None:
    response = shop.post("/v1/events", json=VIEW | change)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 422),
        ("5", 422),
        ('{"events": 5}', 422),
        ('{"events": []}', 422),
        ('{"events": [], "more": 1}', 422),
        ('{"user_id": "u", "event_type": "rating", "item_id": "x", "value": NaN}', 422),
        ('{"user_id": "u", "event_type": "view", "item_id": "x", "value": 1' + "0" * 400 + "}", 422),
        ('{"user_id": "\\ud800", "event_type": "view", "item_id": "x"}', 422),
        (json.dumps({"events": [1] * (MAX_EVENTS + 1)}), 422),
    ],
)
def test_a_body_of_another_shape_is_a_problem(shop: TestClient, body: str, status: int) -> None:
    response = shop.post("/v1/events", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert response.json()["type"].startswith("urn:recsys:problem:")


def test_a_thousand_events_are_taken_at_once(shop: TestClient, log: EventLog) -> None:
    answer = shop.post("/v1/events", json={"events": [VIEW | {"event_id": f"e{n}"} for n in range(MAX_EVENTS)]}).json()
    assert answer["accepted"] == MAX_EVENTS == len(stored(log))


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_every_type_of_event_is_taken(shop: TestClient, log: EventLog, kind: str) -> None:
    assert shop.post("/v1/events", json=VIEW | {"event_type": kind, "text": "shoes", "value": 2}).status_code == 202
    assert [row["event_type"] for row in stored(log)] == [kind]


@pytest.mark.parametrize("kind", EVENT_EXAMPLES)
def test_every_example_is_taken_whole(shop: TestClient, kind: str) -> None:
    response = shop.post("/v1/events", json=EVENT_EXAMPLES[kind]["value"])
    assert response.status_code == 202
    assert response.json()["errors"] == []


def test_what_is_not_on_the_disk_is_not_accepted(
    shop: TestClient, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("live.sqlite: the live database cannot be written (disk full)")

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "append", full)
        response = shop.post("/v1/events", json=VIEW)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.json()["type"] == "urn:recsys:problem:events-not-stored"
    assert "send the same events again" in response.json()["detail"]
    assert shop.post("/v1/events", json=VIEW).status_code == 202


def test_without_a_log_no_events_are_taken(client_of: Callable[..., TestClient], live: ActiveRelease) -> None:
    assert client_of(live).post("/v1/events", json=VIEW).status_code == 404


def test_events_need_no_release(log: EventLog) -> None:
    with TestClient(create_app(Settings(), ServiceState(lambda: None, log.database))) as client:
        assert client.post("/v1/events", json=VIEW).status_code == 202


def test_the_description_shows_both_forms_and_every_answer(shop: TestClient) -> None:
    described = shop.get("/openapi.json").json()
    route = described["paths"]["/v1/events"]["post"]
    assert set(route["requestBody"]["content"]["application/json"]["examples"]) == set(EVENT_EXAMPLES)
    assert {"202", "400", "401", "403", "413", "415", "422", "429", "503"} == set(route["responses"])
    batch, event = described["components"]["schemas"]["EventBatch"]["anyOf"]
    assert event == batch["properties"]["events"]["items"] == {"$ref": "#/components/schemas/ShopEvent"}
    assert batch["properties"]["events"]["maxItems"] == MAX_EVENTS


def test_a_shopper_known_by_an_address_is_stored_and_served_under_the_pseudonym(
    live: ActiveRelease, log: EventLog, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    pseudonym = UserIds.of(workspace).pseudonym("ada@example.com")
    state = ServiceState(lambda: live, log.database, user_ids=UserIdsWatch(workspace))
    with TestClient(create_app(Settings(), state)) as client:
        event = {"user_id": "Ada@Example.com", "item_id": "boot", "event_type": "purchase", "value": -5.0}
        assert client.post("/v1/events", json=event).status_code == 202
        answer = client.post("/v1/recommend", json={"user_id": "ada@example.com", "count": 3})
        assert answer.status_code == 200
        assert client.get("/v1/inspect/shoppers/ada@example.com").json()["user_id"] == pseudonym
    (row,) = stored(log)
    assert (row["user_id"], row["event_type"], row["value"]) == (pseudonym, "return", 5.0)


def test_the_lines_of_an_order_under_one_id_are_all_stored_with_a_warning(shop: TestClient, log: EventLog) -> None:
    lines = [
        {"event_id": "order-7", "user_id": "ann", "event_type": "purchase", "item_id": item_id, "value": 9.5}
        for item_id in ("boot", "coat", "boot")
    ]
    for _ in range(2):  # sent again, nothing changes
        answer = shop.post("/v1/events", json={"events": lines}).json()
        first, second, third = answer["event_ids"]
        assert (answer["accepted"], first, third) == (3, "order-7", "order-7")
        assert second.startswith("order-7#")
        (warning,) = answer["warnings"]
        assert (warning["index"], warning["field"]) == (1, "event_id")
        assert f"stored as {second}" in warning["message"]
    assert [row["item_id"] for row in stored(log)] == ["boot", "coat"]
