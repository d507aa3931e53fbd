"""`python -m serving` on a published release: real Ray, real HAProxy, real HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from object_storage import Endpoint
from served_shop import command, descendants, environment, free_port, listening_addresses, publish

from features.workspace.api_keys import Scope, create_key, revoke_key
from features.workspace.location import NIGHT, editing, working

OPENER = build_opener(ProxyHandler({}))  # a proxy of the environment would not reach this machine
START_S = 240
"""The longest wait for Ray: a laptop busy with other tests needs a minute."""


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[str]

    def get(self, path: str) -> dict[str, Any]:
        with OPENER.open(self.url + path, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def text(self, path: str) -> str:
        with OPENER.open(self.url + path, timeout=30) as response:
            answer: bytes = response.read()
        return answer.decode()

    def post(self, path: str, headers: Mapping[str, str] = {}, method: str = "POST", **body: Any) -> dict[str, Any]:
        """The answer, a problem included."""
        headers = {"content-type": "application/json", **headers}
        request = Request(self.url + path, json.dumps(body).encode(), headers, method=method)
        try:
            with OPENER.open(request, timeout=60) as response:
                answer: dict[str, Any] = json.load(response)
        except HTTPError as error:
            with error:
                answer = json.load(error)
        return answer


@contextmanager
def served(workspace: Path | str, **extra: str) -> Iterator[Service]:
    """The service from its line on standard output to its end, which must be clean."""
    port = free_port()
    process = subprocess.Popen(
        command("--workspace", workspace, "--port", port),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**extra),
    )
    killer = signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.alarm(START_S)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        signal.alarm(0)
        match = re.fullmatch(r"serving release (\S+) on (http://127\.0\.0\.1:\d+)  \(Ctrl-C stops\)\n", line)
        assert match, line + process.communicate()[1]
        yield Service(match[2], process)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, killer)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop")
    publish(root, "r1")
    return root


def refusal(*arguments: object, **extra: str) -> str:
    """The one line with which the service refuses to start."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(**extra), timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("recsys: error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_workspace_without_a_release_is_refused(tmp_path: Path) -> None:
    assert f"recsys nightly --workspace {tmp_path}" in refusal("--workspace", tmp_path)


def test_a_port_in_use_is_refused(workspace: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refusal("--workspace", workspace, "--port", port)
    assert f"port {port} is in use by " in message
    assert f"(pid {os.getpid()})" in message


def test_a_port_that_is_no_port_is_refused(workspace: Path) -> None:
    assert "serve.port" in refusal("--workspace", workspace, "--port", 70000)


def test_an_unknown_setting_is_refused_with_the_nearest(workspace: Path) -> None:
    assert "did you mean serve.port?" in refusal("--workspace", workspace, RECSYS_SERVE__PROT="1")


def test_other_machines_are_let_in_only_with_keys(workspace: Path) -> None:
    assert "recsys keys create NAME" in refusal("--workspace", workspace, "--host", "0.0.0.0")
    assert "serve.host = '::' is open" in refusal("--workspace", workspace, "--host", "::")
    assert "127.0.0.1" in refusal("--workspace", workspace, "--host", "10.1.2.3")


ARMS = {"RECSYS_EXPERIMENTS__MIX__ARMS__NOW__WEIGHT": "1", "RECSYS_EXPERIMENTS__MIX__ARMS__THEN__RELEASE": "r1"}


def test_a_release_is_served_swapped_and_the_service_ends_whole(workspace: Path) -> None:
    with served(workspace, **ARMS) as service:
        known = service.post("/v1/recommend", user_id="ann", count=3)
        assert known["items"][0]["item_id"] == "sock"
        assert known["fallback"] is None
        sentence = service.post("/v1/recommend", text="a vase to put flowers in", count=1)
        assert sentence["items"][0]["item_id"] == "vase"
        assert service.post("/v1/recommend", kount=3)["type"] == "urn:recsys:problem:invalid-request"
        assert service.get("/readyz") == {"status": "ready", "release_id": "r1"}

        stored = service.post("/v1/events", user_id="zoe", event_type="cart", item_id="lamp")
        assert stored["accepted"] == 1
        assert service.post("/v1/recommend", user_id="zoe", count=1)["items"][0]["item_id"] == "vase"
        assert (workspace / "live" / "live.sqlite").is_file()

        service.post("/v1/items/lamp", method="PUT", available=False)
        assert "lamp" not in {item["item_id"] for item in service.post("/v1/recommend", user_id="ann")["items"]}
        service.post("/v1/items/umbrella", method="PUT", title="umbrella for rainy days", price=12)
        for _ in range(20_000):
            first = service.post("/v1/recommend", text="umbrella for rainy days", count=1)["items"][0]
            if first["item_id"] == "umbrella":
                break
        assert first["title"] == "umbrella for rainy days"
        rainy = service.post("/v1/recommend", text="umbrella for rainy days")
        assert service.get(f"/v1/explain/{rainy['recommendation_id']}")["reproduced"]

        port = int(service.url.rpartition(":")[2])
        assert listening_addresses(port) == {"0100007F"}
        processes = descendants(service.process.pid)
        names = {Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0].rpartition("/")[2] for pid in processes}
        assert "haproxy" in names

        publish(workspace, "r2")
        for _ in range(20_000):
            if service.get("/readyz")["release_id"] == "r2":
                break
            assert service.post("/v1/recommend", user_id="ann")["items"]
        assert service.get("/v1/release")["release_id"] == "r2"
        arms = {service.post("/v1/recommend", user_id=f"u{n}", count=1)["release_id"] for n in range(20)}
        assert arms == {"r1", "r2"}
        before = service.get(f"/v1/explain/{sentence['recommendation_id']}")
        assert (before["release_id"], before["reproduced"], before["items"][0]["item_id"]) == ("r1", True, "vase")

        with ThreadPoolExecutor(64) as callers:  # more than there are places
            texts = [f"lamp number {n} for the desk" for n in range(64)]
            answers = list(callers.map(lambda text: service.post("/v1/recommend", text=text, count=1), texts))
        refused = [answer for answer in answers if "items" not in answer]
        assert {answer["type"] for answer in refused} == {"urn:recsys:problem:overloaded"}
        counted = service.text("/metrics")
        shed_by_proxy = re.search(r'recsys_requests_total\{[^}]*route="shed_by_proxy"[^}]*\} (\S+)', counted)
        assert shed_by_proxy is not None and float(shed_by_proxy[1]) > 0
        assert 'recsys_release_replicas{release_id="r2"} 1.0' in counted
        assert "ray" not in counted  # which counts with the same library

        secret = create_key(workspace / "keys.json", "shop", (Scope.READ,), datetime.now(UTC))
        for _ in range(20_000):
            if service.post("/v1/recommend", user_id="ann").get("status") == 401:
                break
        key = {"X-API-Key": secret}
        assert service.post("/v1/recommend", key, user_id="ann")["items"]
        revoke_key(workspace / "keys.json", "shop", datetime.now(UTC))
        for _ in range(20_000):
            if service.post("/v1/recommend", key, user_id="ann").get("status") == 401:
                break
        assert service.post("/v1/recommend", key, user_id="ann")["status"] == 401
        assert service.get("/readyz")["release_id"] == "r2"
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]


def test_object_storage_without_a_database_of_events_is_refused(s3_url: str, tmp_path: Path) -> None:
    with working(s3_url, NIGHT, lambda: datetime.now(UTC)) as workspace:
        (workspace.root / "note").touch()
    message = refusal("--workspace", s3_url, RECSYS_CACHE=str(tmp_path / "served"))
    assert "set RECSYS_SERVE__EVENTS_URL" in message


@pytest.mark.parametrize("live_url", ["postgresql"], indirect=True)
def test_a_workspace_on_object_storage_is_served_and_followed(
    s3_url: str, s3: Endpoint, live_url: str, tmp_path: Path
) -> None:
    def publish_there(release_id: str) -> None:
        with working(s3_url, NIGHT, lambda: datetime.now(UTC)) as workspace:
            publish(workspace.root, release_id)

    publish_there("r1")
    with served(s3_url, RECSYS_CACHE=str(tmp_path / "served"), RECSYS_SERVE__EVENTS_URL=live_url) as service:
        assert service.post("/v1/recommend", user_id="ann", count=1)["items"][0]["item_id"] == "sock"
        assert service.post("/v1/events", user_id="zoe", event_type="cart", item_id="lamp")["accepted"] == 1

        s3.fail = lambda _method, _path: 503
        s3.requests.clear()
        while not s3.requests:  # a replica has looked
            assert service.post("/v1/recommend", user_id="ann")["release_id"] == "r1"
        s3.fail = lambda _method, _path: None

        publish_there("r2")
        for _ in range(20_000):
            if service.get("/readyz")["release_id"] == "r2":
                break
            assert service.post("/v1/recommend", user_id="ann")["items"]
        assert service.get("/v1/release")["release_id"] == "r2"

        with editing(s3_url) as workspace:
            create_key(workspace.api_keys, "shop", (Scope.READ,), datetime.now(UTC))
        for _ in range(20_000):
            if service.post("/v1/recommend", user_id="ann").get("status") == 401:
                break
        assert service.post("/v1/recommend", user_id="ann")["status"] == 401
