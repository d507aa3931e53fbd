import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.ingress.request_id import REQUEST_ID, RequestIdFilter
from serving.releases.active import ActiveRelease
from serving.telemetry.access_log import AccessLog
from serving.watch.keys import Keys

Clients = Callable[..., TestClient]
ASK = {"user_id": "ann"}


@pytest.mark.parametrize("request_id", ["a", "0b6f-41", "trace:7/".rstrip("/"), "x" * 128])
def test_a_sane_request_id_is_sent_back(client: TestClient, request_id: str) -> None:
    response = client.get("/healthz", headers={"X-Request-ID": request_id})
    assert response.headers["x-request-id"] == request_id


@pytest.mark.parametrize("request_id", ["", "two words", 'a"b', "x" * 129, "é".encode()])
def test_any_other_gets_a_new_one(client: TestClient, request_id: str) -> None:
    new_id = client.get("/healthz", headers={"X-Request-ID": request_id}).headers["x-request-id"]
    assert new_id != request_id
    assert len(new_id) == 32


def test_a_problem_names_the_request(client: TestClient) -> None:
    response = client.post("/v1/recommend", json={}, headers={"X-Request-ID": "r-1"})
    assert response.json()["request_id"] == response.headers["x-request-id"] == "r-1"


def test_a_defect_names_the_request_in_problem_and_log(
    live: ActiveRelease, client_of: Clients, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(live.release.recommender), "recommend", lambda *_: 1 / 0)
    caplog.handler.addFilter(RequestIdFilter())
    with caplog.at_level(logging.ERROR):
        response = client_of(live).post("/v1/recommend", json=ASK, headers={"X-Request-ID": "r-2"})
    assert (response.status_code, response.json()["request_id"]) == (500, "r-2")
    assert caplog.records[0].__dict__["request"] == " request_id=r-2"
    assert caplog.records[0].getMessage() == "request failed method=POST route=/v1/recommend"


def test_outside_of_a_request_a_log_record_names_none() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "", None, None)
    assert REQUEST_ID.get() == ""
    assert RequestIdFilter().filter(record)
    assert record.__dict__["request"] == ""


@pytest.fixture
def logged(
    tmp_path: Path, live: ActiveRelease, client_of: Clients, keys_of: Callable[..., Keys]
) -> Callable[[Callable[[TestClient], Any]], list[dict[str, Any]]]:
    """The lines that calls leave."""

    def lines_of(call: Callable[[TestClient], Any]) -> list[dict[str, Any]]:
        access_log = AccessLog(tmp_path / "access.jsonl")
        call(client_of(live, keys=keys_of, access_log=access_log))
        access_log.close()
        return [json.loads(line) for line in (tmp_path / "access.jsonl").read_text().splitlines()]

    return lines_of


def test_a_request_leaves_a_line(logged: Callable[..., list[dict[str, Any]]]) -> None:
    headers = {"X-API-Key": "reader", "X-Request-ID": "r-3"}
    (line,) = logged(lambda client: client.post("/v1/recommend", json=ASK, headers=headers))
    assert line.keys() == {"time", "request_id", "method", "route", "status", "took_ms", "key", "pid"}
    assert line | {"time": 0, "took_ms": 0, "pid": 0} == {
        "time": 0,
        "request_id": "r-3",
        "method": "POST",
        "route": "/v1/recommend",
        "status": 200,
        "took_ms": 0,
        "key": "reader",
        "pid": 0,
    }


def test_nothing_personal_is_logged(logged: Callable[..., list[dict[str, Any]]]) -> None:
    def calls(client: TestClient) -> None:
        client.post("/v1/recommend?who=bob", json={"user_id": "ann", "text": "shoes"}, headers={"X-API-Key": "reader"})
        client.get("/v1/users/ann", headers={"X-API-Key": "secret-key"})
        client.request("BREW", "/carol")

    lines = logged(calls)
    assert [line["route"] for line in lines] == ["/v1/recommend", "unknown", "unknown"]
    assert [line["status"] for line in lines] == [200, 401, 404]
    written = json.dumps(lines)
    for word in ("ann", "bob", "carol", "shoes", "secret-key", "BREW"):
        assert word not in written


def test_a_log_that_was_moved_away_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr("serving.telemetry.access_log.time.monotonic", lambda: now_s[0])
    path = tmp_path / "access.jsonl"
    access_log = AccessLog(path)
    access_log.write("GET", "/healthz", 200, 1.0, "first", None)
    path.rename(tmp_path / "moved")
    now_s[0] = 1.0
    access_log.write("GET", "/healthz", 200, 1.0, "second", None)
    access_log.close()
    assert "first" in (tmp_path / "moved").read_text()
    assert "second" in path.read_text()
