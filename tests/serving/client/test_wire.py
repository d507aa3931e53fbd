import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from serving.client.answers import EntryProblem, EventsResponse, FieldProblem, SlateItem, SlateResponse
from serving.client.wire import ProblemError, Wire

Scripted = Callable[..., AbstractContextManager[Any]]
SLATE = {"recommendation_id": "x", "items": [], "fallback": None, "release_id": "r1", "took_ms": 1.0}


def answer(status: int, content: object = SLATE, *headers: str) -> bytes:
    body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Time:
    """A clock that moves where something waits for it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses_s: list[float] = []

    def wait(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def slate_of(url: str, time: Time, retries: int = 2, timeout_s: float = 10.0, **options: Any) -> SlateResponse:
    wire = Wire(url, None, retries, clock=lambda: time.now_s, sleep=time.wait, chance=lambda: 1.0, **options)
    try:
        return wire.call(SlateResponse, "POST", "/v1/recommend", {"user_id": "ann"}, timeout_s)
    finally:
        wire.close()


def test_a_connection_is_kept_for_the_next_request(scripted: Scripted) -> None:
    with scripted(answer(200)) as server:
        wire = Wire(server.url, "secret", 0)
        for _ in range(3):
            wire.call(SlateResponse, "GET", "/v1/popular", None, 10.0)
        wire.close()
    assert (len(server.requests), server.n_connections) == (3, 1)
    assert b"Authorization: Bearer secret\r\n" in server.requests[2]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_refusal_that_may_pass_is_tried_again_after_pauses_that_double(
    scripted: Scripted, time: Time, status: int
) -> None:
    with scripted(answer(status), answer(status), answer(200)) as server:
        assert slate_of(server.url, time).release_id == "r1"
    assert len(set(server.requests)) == 1
    assert time.pauses_s == [0.1, 0.2]


def test_the_service_says_when_to_come_back(scripted: Scripted, time: Time) -> None:
    with scripted(answer(429, SLATE, "Retry-After: 3"), answer(503, SLATE, "retry-after: 0"), answer(200)) as server:
        slate_of(server.url, time)
    assert time.pauses_s == [3.0, 0.2]


def test_a_connection_that_ends_before_its_answer_is_tried_again(scripted: Scripted, time: Time) -> None:
    with scripted(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", answer(200)) as server:
        slate_of(server.url, time)
    assert time.pauses_s == [0.1, 0.2]


def test_where_a_kept_connection_was_closed_meanwhile_a_new_one_is_opened_at_once(
    scripted: Scripted, time: Time
) -> None:
    with scripted(answer(200), b"", answer(200)) as server:
        wire = Wire(server.url, None, 0, sleep=time.wait)
        for _ in range(2):
            wire.call(SlateResponse, "GET", "/v1/popular", None, 10.0)
        wire.close()
    assert (len(server.requests), server.n_connections, time.pauses_s) == (3, 2, [])


def test_after_the_last_retry_the_problem_is_raised(scripted: Scripted, time: Time) -> None:
    with scripted(answer(503)) as server, pytest.raises(ProblemError):
        slate_of(server.url, time, retries=2)
    assert len(server.requests) == 3


def test_what_would_take_longer_than_the_caller_waits_is_not_waited_for(scripted: Scripted, time: Time) -> None:
    with scripted(answer(503, SLATE, "Retry-After: 2")) as server, pytest.raises(ProblemError):
        slate_of(server.url, time, timeout_s=2.0)
    assert (len(server.requests), time.pauses_s) == (1, [])


def test_an_answer_that_does_not_come_in_time_is_lost(scripted: Scripted) -> None:
    with scripted(b"HTTP/1.1 200 OK\r\n") as server:
        wire = Wire(server.url, None, 2)
        with pytest.raises(ProblemError, match="timed out") as caught:
            wire.call(SlateResponse, "GET", "/v1/popular", None, 0.05)
    assert (caught.value.status, len(server.requests)) == (0, 1)


def test_nobody_there_is_a_problem_without_a_status(time: Time) -> None:
    with pytest.raises(ProblemError, match="No answer: POST /v1/recommend: ") as caught:
        slate_of("http://127.0.0.1:1", time)
    assert (caught.value.status, time.pauses_s) == (0, [0.1, 0.2])


def test_a_problem_has_what_the_service_says(scripted: Scripted, time: Time) -> None:
    problem_ = {
        "type": "urn:recsys:problem:invalid-request",
        "title": "Invalid request",
        "status": 422,
        "detail": "count: too many",
        "errors": [{"field": "count", "message": "too many"}],
        "request_id": "r-9",
    }
    with scripted(answer(422, problem_)) as server, pytest.raises(ProblemError) as caught:
        slate_of(server.url, time)
    problem = caught.value
    assert (problem.status, problem.title, problem.detail) == (422, "Invalid request", "count: too many")
    assert (problem.errors, problem.request_id) == ((FieldProblem("count", "too many"),), "r-9")
    assert str(problem) == "422 Invalid request: count: too many"
    assert len(server.requests) == 1


@pytest.mark.parametrize("content", ["Service is busy\n", '{"error": 1}', "[]", '{"items": [5]}', ""])
@pytest.mark.parametrize("status", [200, 404])
def test_what_is_no_answer_of_the_service_is_a_problem(
    scripted: Scripted, time: Time, status: int, content: str
) -> None:
    with scripted(answer(status, content)) as server, pytest.raises(ProblemError, match="Not an answer") as caught:
        slate_of(server.url, time)
    assert (caught.value.status, caught.value.detail) == (status, content.strip())


def test_the_callers_own_headers_go_along_and_its_path_goes_before(scripted: Scripted, time: Time) -> None:
    with scripted(answer(200)) as server:
        slate_of(f"{server.url}/shop/", time, headers=lambda: {"traceparent": "00-1-2-01"})
    assert server.requests[0].startswith(b"POST /shop/v1/recommend HTTP/1.1\r\n")
    assert b"traceparent: 00-1-2-01\r\n" in server.requests[0]


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "https://"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a service"):
        Wire(url, None, 0)


def test_fields_of_a_later_service_are_left_out(scripted: Scripted, time: Time) -> None:
    item = {"item_id": "a", "score": 1.5, "rank": 1, "source": "text", "title": None, "colour": "red"}
    with scripted(answer(200, SLATE | {"items": [item], "mood": "good"})) as server:
        assert slate_of(server.url, time).items == (SlateItem("a", 1.5, 1, "text", None),)


def test_answers_within_answers_are_read(scripted: Scripted) -> None:
    content = {"accepted": 1, "event_ids": ["e", None], "errors": [{"index": 1, "field": "", "message": "no"}]}
    with scripted(answer(202, content)) as server:
        wire = Wire(server.url, None, 0)
        read = wire.call(EventsResponse, "POST", "/v1/events", {}, 10.0)
        wire.close()
    assert read == EventsResponse(1, ("e", None), (EntryProblem("", "no", 1),))
