import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from jobs.services.load_generator import BROKEN, Address, closed_loop, open_loop, request_bytes, send_once

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
FAILED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
ASK = request_bytes("GET", "/")


@contextmanager
def server(answer: Callable[[int], bytes]) -> Iterator[Address]:
    """Answers the nth request with `answer(n)` in two parts; b"" closes the connection instead, LAST after it."""
    counter, lock = itertools.count(), threading.Lock()

    def serve(connection: socket.socket) -> None:
        with connection:
            while (request := connection.recv(65536)).endswith(b"\r\n\r\n"):
                for _ in range(request.count(b"\r\n\r\n")):
                    with lock:
                        number = next(counter)
                    sent = answer(number)
                    if not sent:
                        return
                    connection.sendall(sent[:5])
                    connection.sendall(sent[5:])
                    if sent == LAST:
                        return

    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_one_request_is_sent_and_its_body_read() -> None:
    with server(lambda _: OK) as address:
        assert send_once(address, ASK) == (200, b"ok")


def test_a_body_is_sent_with_its_length() -> None:
    sent = request_bytes("POST", "/v1/recommend", b"{}", {"X-API-Key": "k"})
    assert sent.endswith(b"\r\nContent-Type: application/json\r\nX-API-Key: k\r\n\r\n{}")
    assert b"Content-Length: 2\r\n" in sent


def test_every_connection_is_answered_and_each_status_recorded() -> None:
    with server(lambda number: REFUSED if number % 3 == 0 else OK) as address:
        load = closed_loop(address, itertools.repeat(ASK), 4, 0.2)
    n_refused, n_ok = len(load.with_status(429)), len(load.with_status(200))
    assert n_refused + n_ok == len(load.status) == len(load.latency_ms)
    assert 0.3 < n_refused / len(load.status) < 0.4
    assert (load.latency_ms > 0).all()
    assert load.wall_s >= 0.2


@pytest.mark.parametrize("failure", [b"", FAILED])
def test_a_failure_is_recorded_and_a_retry_hides_it(failure: bytes) -> None:
    with server(lambda number: failure if number == 5 else OK) as address:
        load = closed_loop(address, itertools.repeat(ASK), 1, 0.2)
    assert load.status[5] == (503 if failure else BROKEN)
    assert (np.delete(load.status, 5) == 200).all()
    with server(lambda number: failure if number == 5 else OK) as address:
        load = closed_loop(address, itertools.repeat(ASK), 1, 0.2, retries=1)
    assert (load.status == 200).all()


def test_a_connection_that_the_service_closes_is_opened_again_without_errors() -> None:
    with server(lambda number: LAST if number % 3 == 0 else OK) as address:
        load = closed_loop(address, itertools.repeat(ASK), 2, 0.2)
    assert len(load.status) > 10
    assert (load.status == 200).all()


@pytest.fixture
def refused_thrice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first connection is opened, the next three are refused, as by a restarting service."""
    attempts, connect = itertools.count(), socket.create_connection

    def create_connection(*arguments: object, **options: object) -> socket.socket:
        if next(attempts) in (1, 2, 3):
            raise ConnectionRefusedError
        return connect(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("jobs.services.load_generator.socket.create_connection", create_connection)


def test_a_refused_connection_is_an_error_and_opened_again(refused_thrice: None) -> None:
    with server(lambda number: b"" if number == 5 else OK) as address:
        load = closed_loop(address, itertools.repeat(ASK), 1, 0.5)
    assert load.status[:5].tolist() == [200] * 5
    assert load.status[5:9].tolist() == [BROKEN] * 4  # the one that broke, and three that nobody took
    assert len(load.status) > 10
    assert (load.status[9:] == 200).all()


def test_retries_wait_for_a_restarting_service(refused_thrice: None) -> None:
    with server(lambda number: b"" if number == 5 else OK) as address:
        load = closed_loop(address, itertools.repeat(ASK), 1, 0.5, retries=4)
    assert (load.status == 200).all()
    assert load.latency_ms[5] == load.latency_ms.max() > 100  # two pauses


def test_an_open_loop_goes_on_where_connections_are_refused(refused_thrice: None) -> None:
    with server(lambda number: b"" if number == 5 else OK) as address:
        load = open_loop(address, itertools.repeat(ASK), per_second=100, max_connections=1, seconds=0.5)
    assert len(load.status) == 50
    assert len(load.with_status(BROKEN)) == 4


def test_an_open_loop_sends_all_due_requests_whatever_the_answers() -> None:
    with server(lambda number: REFUSED if number % 2 else OK) as address:
        load = open_loop(address, itertools.repeat(ASK), per_second=200, max_connections=4, seconds=0.5)
    assert len(load.status) == 100
    assert len(load.with_status(429)) == 50


def test_an_answer_without_a_length_is_an_error() -> None:
    with (
        server(lambda _: b"HTTP/1.1 200 OK\r\n\r\n") as address,
        pytest.raises(ValueError, match="without a length"),
    ):
        send_once(address, ASK)
