"""HTTP transport of the client: keep-alive connections and retries."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final, TypeVar
from urllib.parse import urlsplit

from .answers import FieldProblem
from .reading import read

LOST: Final = 0
"""The status where no answer came."""

TRIED_AGAIN: Final = frozenset({LOST, 429, 502, 503, 504})
FIRST_PAUSE_S: Final = 0.1
SHORTEST_WAIT_S: Final = 0.001

T = TypeVar("T")


class ProblemError(Exception):
    """The service refused the request, or did not answer (`status` 0). Quote `request_id` to its operators."""

    def __init__(self, status: int, title: str, detail: str, errors: tuple[FieldProblem, ...], request_id: str) -> None:
        super().__init__(f"{status} {title}: {detail}" if status else f"{title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.request_id = request_id


@dataclass(frozen=True)
class _Answer:
    """retry_after_s: 0 where the service names no time."""

    status: int
    body: bytes
    retry_after_s: float = 0.0


class Wire:
    """Thread-safe: each request uses a connection exclusively, and leaves it open for the next one.

    Every request may safely be sent twice (events have ids). So it is retried after a lost connection, 429, 502, 503
    and 504, up to `retries` times, after pauses that double, and not before `Retry-After`.

    headers: called for each request, such as for a `traceparent`. clock, sleep, chance: replaced in tests.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        retries: int,
        headers: Callable[[], Mapping[str, str]] = dict,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the URL of a service; write it like https://recommend.example.com")
        self._opened = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._fixed = {"Accept": "application/json", "User-Agent": "recsys-client"}
        if key is not None:
            self._fixed["Authorization"] = f"Bearer {key}"
        self._retries = retries
        self._headers = headers
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._idle: list[HTTPConnection] = []
        self._lock = threading.Lock()

    def call(self, kind: Callable[..., T], method: str, path: str, body: object, timeout_s: float) -> T:
        """The answer as `kind`. Raises ProblemError where the service refuses, or does not answer in time.

        body: None sends none. timeout_s: for all attempts together; an answer that arrives slowly may take longer.
        """
        content = None if body is None else json.dumps(body, default=_iso).encode()
        headers = {**self._fixed, **({"Content-Type": "application/json"} if content else {}), **self._headers()}
        deadline_s = self._clock() + timeout_s
        for attempt in range(self._retries + 1):
            answer = self._attempt(method, self._prefix + path, content, headers, deadline_s)
            pause_s = max(answer.retry_after_s, FIRST_PAUSE_S * 2**attempt * (0.5 + 0.5 * self._chance()))
            is_last = attempt == self._retries or self._clock() + pause_s >= deadline_s
            if answer.status not in TRIED_AGAIN or is_last:
                break
            self._sleep(pause_s)
        if answer.status == LOST:
            raise ProblemError(LOST, "No answer", f"{method} {path}: {answer.body.decode()}", (), "")
        return _read(kind, answer)

    def close(self) -> None:
        """Close the idle connections; later requests open new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _attempt(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], deadline_s: float
    ) -> _Answer:
        with self._lock:
            reused = self._idle.pop() if self._idle else None
        connection = reused or self._opened(self._host, self._port)
        connection.timeout = max(deadline_s - self._clock(), SHORTEST_WAIT_S)
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        try:
            connection.request(method, path, content, dict(headers))
            response = connection.getresponse()
            answer = _Answer(response.status, response.read(), _seconds(response.headers.get("Retry-After", "")))
        except (OSError, HTTPException) as error:
            connection.close()
            if reused is not None and not isinstance(error, TimeoutError):
                self.close()  # the service has closed this idle connection, and so the others
                return self._attempt(method, path, content, headers, deadline_s)
            return _Answer(LOST, (str(error) or type(error).__name__).encode())
        if not response.will_close:
            with self._lock:
                self._idle.append(connection)
        return answer


def _read(kind: Callable[..., T], answer: _Answer) -> T:
    """The answer; raises its problem. A proxy without a replica answers with a line of plain text."""
    try:
        content = json.loads(answer.body)
        if answer.status < 400:
            return read(kind, content)
        errors = tuple(read(FieldProblem, each) for each in content["errors"])
        problem = ProblemError(answer.status, content["title"], content["detail"], errors, content["request_id"])
    except (AttributeError, KeyError, TypeError, ValueError):
        text = answer.body[:200].decode("utf-8", "replace").strip()
        problem = ProblemError(answer.status, "Not an answer of the service", text, (), "")
    raise problem


def _seconds(retry_after: str) -> float:
    """Retry-After in seconds; 0 for a date, which the service never sends."""
    return float(retry_after) if retry_after.isdecimal() else 0.0


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} cannot be sent as JSON; use texts, numbers, lists and dictionaries")
