"""Generate load on an HTTP service from one process, over keep-alive connections.

Raw sockets behind one epoll; requests are encoded beforehand, and of answers only status and length are parsed. That
takes 15 to 20 µs of client CPU per request, where httpx takes 280 to 1,450 µs (docs/decisions.md) and would itself be
measured on a machine that client and service share. `Load.client_share` shows how close the client came to its limit.
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
"""Status of a request whose connection closed before the full answer arrived, or could not be opened."""

READ_BYTES: Final = 1 << 18
TIMEOUT_S: Final = 30.0
REOPEN_PAUSE_S: Final = 0.05
"""Pause between two attempts to open a connection."""

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"

Address = tuple[str, int]


@dataclass(frozen=True)
class Load:
    """The answers. latency_ms, status: (n_requests,) in the order in which they were answered."""

    latency_ms: np.ndarray
    status: np.ndarray
    wall_s: float
    client_share: float
    """Share of one CPU that the client itself used; near 1, the client is the bottleneck."""

    def with_status(self, status: int) -> np.ndarray:
        """Latencies of the answers with that status, ms."""
        return self.latency_ms[self.status == status]


def request_bytes(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """An encoded HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    if body:
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + _END + body


def send_once(address: Address, request: bytes) -> tuple[int, bytes]:
    """Send one request on a new connection; returns status and body."""
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
    """Every connection sends the next request as soon as the last one is answered.

    retries: how often a request is retried on a new connection, after a broken connection or a 5xx answer; its latency
    counts from the first attempt. A refused connection counts as broken and is opened again after a pause.
    """
    return _Run(address, requests, retries).closed(n_connections, seconds)


def open_loop(
    address: Address, requests: Iterator[bytes], per_second: float, max_connections: int, seconds: float
) -> Load:
    """Send requests at a fixed rate, whether or not earlier ones were answered.

    A request that is due while all connections are busy is sent by the next free one; its latency counts from when it
    was due.
    """
    return _Run(address, requests, retries=0).open(per_second, max_connections, seconds)


@dataclass
class _Connection:
    """socket: None while the connection is down; it is not opened again before `open_at_s`."""

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
        """Connections that are down and have a request to send once they are open."""

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
        with suppress(OSError):  # a closed connection is handled where it is read
            connection.socket.sendall(connection.request)

    def _answered(self, selector: selectors.BaseSelector, wait_s: float) -> list[_Connection]:
        """Connections whose request was answered, or failed for good, within the wait."""
        if self._down:
            soonest_s = min(connection.open_at_s for connection in self._down)
            wait_s = min(wait_s, max(0.0, soonest_s - time.perf_counter()))
        ready = [key.data for key, _ in selector.select(wait_s)]
        answered = [connection for connection in ready if self._receive(selector, connection)]
        due, self._down = self._down, []
        return answered + [connection for connection in due if self._reopen(selector, connection)]

    def _receive(self, selector: selectors.BaseSelector, connection: _Connection) -> bool:
        """Read what has arrived. Returns whether the request was answered, or failed for good."""
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
            _close(selector, connection)  # the next request opens a new one, as any HTTP client does
        return self._ended(connection, _status(answer))

    def _reopen(self, selector: selectors.BaseSelector, connection: _Connection) -> bool:
        """Open a connection that is down and send its request. Returns whether the request failed for good.

        The pause between two attempts prevents thousands of attempts a second on a service that is down.
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
        """Record the result of a request, or retry it. Returns whether it was recorded."""
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
    """Length of the answer in bytes; None while it is unknown. Raises ValueError if no header gives the length."""
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
    """Whether the service will close the connection after this answer."""
    return b"\r\nconnection: close\r\n" in bytes(answer[: answer.find(_END) + 2]).lower()


def _status(answer: bytes | bytearray) -> int:
    """The status in `HTTP/1.1 200 OK`."""
    return int(answer[9:12])
