import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.ingress.problems import MAX_FIELD_PROBLEMS
from serving.schemas.lists import MAX_EXCLUDE_IDS, MAX_ID_CHARS, MAX_ITEM_IDS, MAX_SESSION_EVENTS, MAX_TEXT_CHARS


def refused(client: TestClient, request: Any, path: str = "/v1/recommend") -> dict[str, Any]:
    """The problem that the request gets; raw text is sent as it is."""
    body = request if isinstance(request, str) else json.dumps(request)
    response = client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem.keys() == {"type", "title", "status", "detail", "errors", "request_id"}
    assert problem["status"] == response.status_code
    return problem


@pytest.mark.parametrize(
    ("request_", "field", "message"),
    [
        ({"user_id": "ann", "kount": 3}, "kount", "unknown field"),
        ({"session": [{"item_id": "lamp", "price": 3}]}, "session.0.price", "unknown field"),
        ({"user_id": ""}, "user_id", "at least 1"),
        ({"user_id": [7]}, "user_id", "must be a text"),
        ({"user_id": "undefined"}, "user_id", "where there is no id"),
        ({"user_id": '{"id": 7}'}, "user_id", "JSON is no id"),
        ({"user_id": "a" * (MAX_ID_CHARS + 1)}, "user_id", f"at most {MAX_ID_CHARS}"),
        ({"user_id": "ann", "count": 0}, "count", "greater than or equal to 1"),
        ({"user_id": "ann", "count": "3"}, "count", "must be a whole number"),
        ({"user_id": "ann", "count": True}, "count", "must be a whole number"),
        ({"text": "x" * (MAX_TEXT_CHARS + 1)}, "text", f"at most {MAX_TEXT_CHARS}"),
        ({"text": "<br> &nbsp;"}, "text", "no text is left"),
        ({"item_ids": ["a"] * (MAX_ITEM_IDS + 1)}, "item_ids", f"at most {MAX_ITEM_IDS}"),
        ({"user_id": "a", "exclude_ids": ["a"] * (MAX_EXCLUDE_IDS + 1)}, "exclude_ids", "at most"),
        ({"session": [{"item_id": "a"}] * (MAX_SESSION_EVENTS + 1)}, "session", f"at most {MAX_SESSION_EVENTS}"),
        ({"session": [{"event_type": "view"}]}, "session.0", "needs item_id or text"),
        ({"session": [{"item_id": "a", "event_type": "peek"}]}, "session.0.event_type", "unknown event type"),
        ({"session": [{"item_id": "a", "timestamp": "soon"}]}, "session.0.timestamp", "not a time; send ISO 8601"),
        ({"session": [{"item_id": "a", "timestamp": 5}]}, "session.0.timestamp", "before 1990"),
    ],
)
def test_a_bad_field_is_named_with_its_fault(
    client: TestClient, request_: dict[str, Any], field: str, message: str
) -> None:
    problem = refused(client, request_)
    assert problem["status"] == 422
    assert problem["errors"][0]["field"] == field
    assert message in problem["errors"][0]["message"]
    assert field in problem["detail"]


@pytest.mark.parametrize("request_", [{}, {"count": 5}, {"user_id": None}, {"session": [], "item_ids": []}])
def test_a_request_that_says_nothing_is_refused(client: TestClient, request_: dict[str, Any]) -> None:
    problem = refused(client, request_)
    assert problem["status"] == 422
    assert "at least one of user_id, session, item_ids, text" in problem["detail"]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_moment_that_has_no_utc_is_refused(client: TestClient, moment: str) -> None:
    assert refused(client, {"session": [{"item_id": "lamp", "timestamp": moment}]})["status"] == 422


@pytest.mark.parametrize("moment", ["2026-01-01T10:00:00Z", "2026-01-01T10:00:00", 1767261600, "9999-01-01"])
def test_moments_with_and_without_zone_and_in_the_future_are_taken(client: TestClient, moment: Any) -> None:
    request = {"session": [{"item_id": "lamp", "timestamp": moment}]}
    assert client.post("/v1/recommend", json=request).status_code == 200


@pytest.mark.parametrize("body", ["", "{", "[1]", '"user"', "null", "NaN", "[" * 100_000])
def test_a_body_that_is_no_request_is_refused(client: TestClient, body: str) -> None:
    assert refused(client, body)["status"] in (400, 422)


def test_json_that_does_not_parse_is_400(client: TestClient) -> None:
    problem = refused(client, '{"user_id": ')
    assert problem["status"] == 400
    assert problem["type"] == "urn:recsys:problem:malformed-json"


@pytest.mark.parametrize("body", [r'{"user_id": "\ud800"}', r'{"\ud800": 1}', '{"user_id": "a", "count": NaN}'])
def test_what_utf8_or_json_cannot_carry_is_refused_in_words(client: TestClient, body: str) -> None:
    assert refused(client, body)["status"] == 422


def test_of_many_faults_the_first_are_listed_and_the_rest_counted(client: TestClient) -> None:
    problem = refused(client, {"session": [{}] * 300})
    assert len(problem["errors"]) == MAX_FIELD_PROBLEMS
    assert "299 more" in problem["detail"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/v1/recommend", 405)])
def test_wrong_addresses_are_problems_too(client: TestClient, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert path in response.json()["detail"]
