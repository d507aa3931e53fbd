import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from jobs.simulation import service
from jobs.simulation.service import ShopService, service_url
from recsys.errors import ConfigError, ServeError

Answers = Sequence[tuple[int, object]]


def received(connection: socket.socket) -> bytes:
    """One request: its headers, and the body whose length they give."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(1 << 20)
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = [int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
    while len(body) < sum(lengths):
        body += connection.recv(1 << 20)
    return head + b"\r\n\r\n" + body


@contextmanager
def answering(answers: Answers, requests: list[bytes]) -> Iterator[ShopService]:
    """A service that gives these answers, each on a new connection; status 0 closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for status, body in answers:
                connection, _ = listener.accept()
                with connection:
                    requests.append(received(connection))
                    if status:
                        content = json.dumps(body).encode()
                        head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\n\r\n"
                        connection.sendall(head.encode() + content)

        thread = threading.Thread(target=serve)
        thread.start()
        with ShopService(f"http://127.0.0.1:{listener.getsockname()[1]}", "secret") as shop:
            yield shop
        thread.join()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PAUSE_S", 0.0)


def test_a_list_is_requested_with_the_key() -> None:
    requests: list[bytes] = []
    with answering([(200, {"items": [], "recommendation_id": "l1"})] * 2, requests) as shop:
        assert shop.recommend("ann", 7)["recommendation_id"] == "l1"
        shop.recommend("ann", 7, ["boot"])
    assert requests[0].startswith(b"POST /v1/recommend HTTP") and b"X-API-Key: secret" in requests[0]
    assert requests[0].endswith(b'{"user_id":"ann","count":7}')
    assert requests[1].endswith(b'{"user_id":"ann","count":7,"exclude_ids":["boot"]}')


def test_a_request_to_a_busy_or_broken_service_is_retried() -> None:
    requests: list[bytes] = []
    answers = [(429, {}), (503, {}), (0, None), (200, {"status": "ready", "release_id": "r1"})]
    with answering(answers, requests) as shop:
        assert shop.release_id() == "r1"
    assert len(requests) == 4


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([(401, {})], "--api-key"),
        ([(500, {"detail": "broken"})], "answered 500"),
        ([(0, None)] * service.TRIES, "no answer"),
    ],
)
def test_an_error_that_retries_cannot_fix_is_raised(answers: Answers, message: str) -> None:
    with answering(answers, []) as shop, pytest.raises(ServeError, match=message):
        shop.recommend("ann", 7)


def test_an_unreachable_service_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServeError, match="refused"):
        ShopService(f"http://127.0.0.1:{port}", None).release_id()


def test_a_failed_request_of_a_batch_is_an_error() -> None:
    result = {"slate": None, "problem": {"status": 422, "detail": "count too large"}}
    with answering([(200, {"results": [result]})], []) as shop, pytest.raises(ServeError, match="count too large"):
        shop.recommend_many(["ann"], 10_000)


def test_events_are_sent_in_parts_and_a_rejected_one_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_EVENTS", 2)
    requests: list[bytes] = []
    with answering([(HTTPStatus.ACCEPTED, {"errors": []})] * 2, requests) as shop:
        shop.send([{"event_id": str(n)} for n in range(3)])
    assert [len(json.loads(request.split(b"\r\n\r\n")[1])["events"]) for request in requests] == [2, 1]
    problem = {"index": 0, "field": "timestamp", "message": "lies in the future"}
    with answering([(202, {"errors": [problem]})], []) as shop, pytest.raises(ServeError, match="lies in the future"):
        shop.send([{}])


def ready(release_id: str) -> tuple[int, object]:
    return 200, {"status": "ready", "release_id": release_id}


def test_it_waits_for_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering([ready("r1"), ready("r1"), ready("r2")], []) as shop:
        shop.wait_for("r2")
    monkeypatch.setattr(service, "SWAP_S", -1.0)
    with answering([ready("r1")], []) as shop, pytest.raises(ServeError, match="start the service on this workspace"):
        shop.wait_for("r2")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "https://shop", "http://", "http://a:b", "http://shop/v1"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"write it like http://127\.0\.0\.1:8000"):
        service_url(url)


def test_valid_urls() -> None:
    assert service_url("http://127.0.0.1:8123") == "http://127.0.0.1:8123"
    assert service_url("http://shop/") == "http://shop"
