"""Load on an HTTP service from one process, over connections that are kept alive.

Raw sockets behind one epoll, requests encoded beforehand, answers read as far as their status and length: some 40 µs of
processor a request, where an HTTP library takes several times as much and would be measured in the service's stead on
a machine that both share. `Load.client_share` tells how near the client came to its own limit.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np

BROKEN: Final = 0
"""The status of a request whose connection ended before its answer did, or could not be opened."""

READ_BYTES: Final = 1 << 18
TIMEOUT_S: Final = 30.0
REOPEN_PAUSE_S: Final = 0.05
"""Between two attempts to open a connection."""

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"

Address = tuple[str, int]


@dataclass(frozen=True)
class Load:
    """What came back. latency_ms, status: (n_requests,) in the order in which they were answered."""

    latency_ms: np.ndarray
    status: np.ndarray
    wall_s: float
    client_share: float
    """Share of one processor that the client itself took: near 1 it is the client that was measured."""

    def with_status(self, status: int) -> np.ndarray:
        """The latencies of the requests that were answered so, ms."""
        return self.latency_ms[self.status == status]


def request_bytes(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """A request as it is sent."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    if body:
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + _END + body


def ask(address: Address, request: bytes) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    with socket.create_connection(address, timeout=TIMEOUT_S) as connection:
        connection.sendall(request)
        answer = b""
        while (end := _answer_end(answer)) is None or len(answer) < end:
            received = connection.recv(READ_BYTES)
            if not received:
                return BROKEN, b""
            answer += received
    return _status(answer), answer[answer.index(_END) + len(_END) :]


def closed_loop(
    address: Address, requests: Iterator[bytes], n_connections: int, seconds: float, *, retries: int = 0
) -> Load:
    """Every connection asks again as soon as it is answered.

    retries: how often a request is sent again, on a new connection, where its own broke or the answer was 5xx; its
    latency counts from the first time. A connection that is refused is such a break, and opened again after a pause.
    """
    return _Run(address, requests, retries).closed(n_connections, seconds)


def open_loop(
    address: Address, requests: Iterator[bytes], per_second: float, max_connections: int, seconds: float
) -> Load:
    """Requests at a fixed rate, whether or not earlier ones were answered, as shoppers do.

    A request that is due while every connection waits for an answer is sent by the next that is free; its latency
    counts from when it was due.
    """
    return _Run(address, requests, retries=0).open(per_second, max_connections, seconds)


@dataclass
class _Connection:
    """socket: None while it is down, and then not to be opened before `open_at_s`."""

    socket: socket.socket | None = None
    request: bytes = b""
    since_s: float = 0.0
    retries_left: int = 0
    answer: bytearray = field(default_factory=bytearray)
    end: int | None = None
    open_at_s: float = 0.0


class _Run:
    def __init__(self, address: Address, requests: Iterator[bytes], retries: int) -> None:
        self._address = address
        self._requests = requests
        self._retries = retries
        self._latency_s: list[float] = []
        self._status: list[int] = []
        self._down: list[_Connection] = []
        """Connections with a request to send as soon as they can be opened."""

    def closed(self, n_connections: int, seconds: float) -> Load:
        with selectors.DefaultSelector() as selector:
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            for _ in range(n_connections):
                connection = self._connect(selector)
                self._send(connection, next(self._requests), time.perf_counter())
            deadline_s = start_s + seconds
            n_open = n_connections
            while n_open:
                for connection in self._answered(selector, TIMEOUT_S):
                    now_s = time.perf_counter()
                    if now_s < deadline_s:
                        self._send(connection, next(self._requests), now_s)
                    else:
                        _close(selector, connection)
                        n_open -= 1
            return self._load(start_s, start_cpu_s)

    def open(self, per_second: float, max_connections: int, seconds: float) -> Load:
        with selectors.DefaultSelector() as selector:
            idle = [self._connect(selector) for _ in range(max_connections)]
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            total, n_sent = int(per_second * seconds), 0
            while len(self._status) < total:
                now_s = time.perf_counter()
                while idle and n_sent < total and (due_s := start_s + n_sent / per_second) <= now_s:
                    self._send(idle.pop(), next(self._requests), due_s)
                    n_sent += 1
                due_s = start_s + n_sent / per_second
                wait_s = max(0.0, due_s - time.perf_counter()) if idle and n_sent < total else TIMEOUT_S
                idle += self._answered(selector, wait_s)
            load = self._load(start_s, start_cpu_s)
            for connection in idle:
                _close(selector, connection)
            return load

    def _load(self, start_s: float, start_cpu_s: float) -> Load:
        wall_s = time.perf_counter() - start_s
        share = (time.process_time() - start_cpu_s) / wall_s
        return Load(1000 * np.array(self._latency_s), np.array(self._status, dtype=np.int64), wall_s, share)

    def _connect(self, selector: selectors.BaseSelector) -> _Connection:
        connection = _Connection()
        self._open(selector, connection)
        return connection

    def _open(self, selector: selectors.BaseSelector, connection: _Connection) -> None:
        opened = socket.create_connection(self._address, timeout=TIMEOUT_S)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(opened, selectors.EVENT_READ, connection)
        connection.socket = opened

    def _send(self, connection: _Connection, request: bytes, since_s: float) -> None:
        connection.request, connection.since_s, connection.retries_left = request, since_s, self._retries
        self._send_again(connection)

    def _send_again(self, connection: _Connection) -> None:
        connection.answer.clear()
        connection.end = None
        if connection.socket is None:
            self._down.append(connection)
            return
        with suppress(OSError):  # reading finds the connection ended, and that is where it is handled
            connection.socket.sendall(connection.request)

    def _answered(self, selector: selectors.BaseSelector, wait_s: float) -> list[_Connection]:
        """The connections whose request has been answered, or was given up, within the wait."""
        if self._down:
            soonest_s = min(connection.open_at_s for connection in self._down)
            wait_s = min(wait_s, max(0.0, soonest_s - time.perf_counter()))
        ready = [key.data for key, _ in selector.select(wait_s)]
        answered = [connection for connection in ready if self._receive(selector, connection)]
        due, self._down = self._down, []
        return answered + [connection for connection in due if self._reopen(selector, connection)]

    def _receive(self, selector: selectors.BaseSelector, connection: _Connection) -> bool:
        """Read what has arrived; whether the request has been answered, or was given up."""
        assert connection.socket is not None
        try:
            received = connection.socket.recv(READ_BYTES)
        except OSError:
            received = b""
        if not received:
            _close(selector, connection)
            return self._ended(connection, BROKEN)
        answer = connection.answer
        answer += received
        if connection.end is None:
            connection.end = _answer_end(answer)
        if connection.end is None or len(answer) < connection.end:
            return False
        if _is_last(answer):
            _close(selector, connection)  # the next request opens it again, as a client of HTTP does
        return self._ended(connection, _status(answer))

    def _reopen(self, selector: selectors.BaseSelector, connection: _Connection) -> bool:
        """Open a connection that is down and send its request; whether that was given up, as nobody listens.

        A pause comes between two attempts, or a service that is gone would be asked thousands of times a second.
        """
        if time.perf_counter() < connection.open_at_s:
            self._down.append(connection)
            return False
        try:
            self._open(selector, connection)
        except OSError:
            connection.open_at_s = time.perf_counter() + REOPEN_PAUSE_S
            return self._ended(connection, BROKEN)
        self._send_again(connection)
        return False

    def _ended(self, connection: _Connection, status: int) -> bool:
        """Note the end of a request, or try it again; whether it was noted."""
        if (status == BROKEN or status >= 500) and connection.retries_left:
            connection.retries_left -= 1
            self._send_again(connection)
            return False
        self._latency_s.append(time.perf_counter() - connection.since_s)
        self._status.append(status)
        return True


def _close(selector: selectors.BaseSelector, connection: _Connection) -> None:
    if connection.socket is not None:
        selector.unregister(connection.socket)
        connection.socket.close()
        connection.socket = None


def _answer_end(answer: bytes | bytearray) -> int | None:
    """Where the answer ends; None while that is not known. Raises ValueError for one that will never tell."""
    head = answer.find(_END)
    if head < 0:
        return None
    lowered = bytes(answer[:head]).lower()
    at = lowered.find(_LENGTH)
    if at < 0:
        if b"transfer-encoding: chunked" not in lowered:
            raise ValueError(f"an answer without a length cannot be measured: {lowered[:200]!r}")
        last = answer.find(_LAST_CHUNK, head)
        return None if last < 0 else last + len(_LAST_CHUNK)
    line_end = lowered.find(b"\r\n", at)
    length = lowered[at + len(_LENGTH) : line_end if line_end >= 0 else head]
    return head + len(_END) + int(length)


def _is_last(answer: bytes | bytearray) -> bool:
    """Whether the service said that it answers no more on this connection."""
    return b"\r\nconnection: close\r\n" in bytes(answer[: answer.find(_END) + 2]).lower()


def _status(answer: bytes | bytearray) -> int:
    """Of `HTTP/1.1 200 OK`."""
    return int(answer[9:12])
