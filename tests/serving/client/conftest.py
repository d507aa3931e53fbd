"""The service of `tests/serving/conftest.py` behind a real socket, and a server that says what a test tells it to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from features.live.database import LiveDatabase, open_live_database
from recsys.config import Settings
from recsys.workspace import Workspace
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.state import ServiceState
from serving.watch.keys import Keys


@pytest.fixture
def live_database(tmp_path: Path) -> Iterator[LiveDatabase]:
    """One kind of it: what the service does with others, `tests/serving` has tried."""
    database = open_live_database(Workspace(tmp_path), "")
    yield database
    database.close()


@pytest.fixture
def url(live: ActiveRelease, live_database: LiveDatabase, keys_of: Callable[..., Keys]) -> Iterator[str]:
    """Of the service with its keys, as `serving.__main__` serves it but for Ray and HAProxy."""
    keys = keys_of()
    app = create_app(Settings(), ServiceState(lambda: live, live_database, keys=lambda: keys))
    with socket.create_server(("127.0.0.1", 0)) as listener:  # what comes before it accepts waits in its queue
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def described(live: ActiveRelease, live_database: LiveDatabase) -> dict[str, Any]:
    """The service's OpenAPI document."""
    return create_app(Settings(), ServiceState(lambda: live, live_database)).openapi()


class Script:
    """Answers the nth request with the nth answer, b"" by ending the connection, as after half a body; the last one is
    said again.

    requests: what came in; n_connections: how many were opened.
    """

    def __init__(self, answers: Sequence[bytes], listener: socket.socket) -> None:
        self._answers = answers
        self._listener = listener
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.n_connections = 0

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.n_connections += 1
            with connection:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        while request := self._read(connection):
            self.requests.append(request)
            answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
            if not answer:
                return
            connection.sendall(answer)
            if b"\r\n\r\n" in answer and len(answer) < _end(answer):
                return

    def _read(self, connection: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request or len(request) < _end(request):
            received = connection.recv(65536)
            if not received:
                return b""
            request += received
        return request


def _end(request: bytes) -> int:
    head, _, _ = request.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(head) + 4 + (int(lengths[0]) if lengths else 0)


@pytest.fixture
def scripted() -> Callable[..., AbstractContextManager[Script]]:
    """Starts a server that gives these answers, one connection at a time."""

    @contextmanager
    def start(*answers: bytes) -> Iterator[Script]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            script = Script(answers, listener)
            thread = threading.Thread(target=script.run)
            thread.start()
            yield script
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()

    return start
