"""A Ray cluster that others run, with its token asked for: the night and the service on it, as in the manifests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from manifests import ROOT, of_kind

from jobs.services.process import LOOPBACK, free_port
from recsys.workspace import Workspace

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the environment would not reach this machine."""

TOKEN = "0123456789abcdef" * 4
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Cluster:
    """Where its head and its dashboard listen, and the variables of who may use it."""

    address: str
    dashboard: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One node, started as KubeRay starts a head; it ends with the module."""
    ports = {name: free_port() for name in ("port", "dashboard-port", "dashboard-agent-listen-port")}
    ports["ray-client-server-port"] = free_port()
    given = [part for name, port in ports.items() for part in (f"--{name}", str(port))]
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    folder = tempfile.mkdtemp(prefix="rc-", dir="/tmp")  # a short path: sockets lie in it
    ray = Path(sys.executable).with_name("ray")
    command = [str(ray), "start", "--head", "--block", "--num-cpus", "3", "--object-store-memory", "100000000"]
    command += ["--temp-dir", folder, *given]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, **quiet) as process:  # type: ignore[call-overload]
        dashboard = f"http://{LOOPBACK}:{ports['dashboard-port']}"
        try:
            answered(f"{dashboard}/api/version", process)
            yield Cluster(f"{LOOPBACK}:{ports['port']}", dashboard, environment)
        finally:
            # All of it at once: told to end, it waits for half a minute.
            for child in (*psutil.Process(process.pid).children(recursive=True), process):
                child.kill()
    shutil.rmtree(folder, ignore_errors=True)


def answered(url: str, process: subprocess.Popen[bytes] | None = None, **request: Any) -> Any:
    """The JSON that the URL answers once it answers with success; the status where it refuses whoever asks."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and (process is None or process.poll() is None):
        try:
            with OPENER.open(urllib.request.Request(url, **request), timeout=10) as response:
                return json.loads(response.read() or "null")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 401:
                return error.code
        except (OSError, json.JSONDecodeError):
            pass
        time.sleep(0.5)
    raise AssertionError(f"{url} did not answer")


def run(cluster: Cluster, *command: str, **settings: str) -> str:
    """What the command of recsys logs, on the cluster."""
    environment = cluster.environment | {"RAY_ADDRESS": cluster.address} | settings
    done = subprocess.run(
        [sys.executable, "-m", "jobs", *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_cluster_runs_the_night_and_serves_what_it_published(
    cluster: Cluster, tiny_bert: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "shop")
    place = ("--workspace", str(workspace.root))
    small = {
        "RECSYS_ENCODER__MODEL": str(tiny_bert),
        "RECSYS_EMBED__INLINE_TEXTS": "0",
        "RECSYS_EMBED__SHARD_TEXTS": "200",
        "RECSYS_SEQUENCE__EPOCHS": "1",  # in the driver; several workers: tests/jobs/training/test_sequence.py
        "RECSYS_SEQUENCE__DIM": "16",
        "RECSYS_FACTORS__DIM": "8",
    }
    run(cluster, "ingest", "sample", *place, "--products", "40", "--shoppers", "25", "--days", "15")
    log = run(cluster, "nightly", *place, **small)
    assert "embed_started" in log
    assert "step_started step=learn" in log  # in a task of the cluster
    current = json.loads(workspace.current.read_text())

    assert answered(f"{cluster.dashboard}/api/serve/applications/") == 401  # who has no token changes nothing
    config = yaml.safe_load(of_kind("RayService")["spec"]["serveConfigV2"])
    port = free_port()
    config["http_options"] = {"host": LOOPBACK, "port": port}
    variables = {"PYTHONPATH": str(ROOT), "RECSYS_WORKSPACE": str(workspace.root)}
    config["applications"][0]["runtime_env"] = {"env_vars": variables}
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    body = json.dumps(config).encode()
    answered(f"{cluster.dashboard}/api/serve/applications/", data=body, headers=headers, method="PUT")
    ready = answered(f"http://{LOOPBACK}:{port}/readyz")
    assert ready["status"] == "ready"
    assert ready["release_id"] in json.dumps(current)
    ask = {"data": b'{"user_id": "anybody"}', "headers": {"Content-Type": "application/json"}}
    assert answered(f"http://{LOOPBACK}:{port}/v1/recommend", **ask) == 401  # no key was made for this shop
