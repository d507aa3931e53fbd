"""Number of requests that fail when a replica is killed under load, with and without a retry by the client.

python tests/benchmarks/replica_loss.py --workspace out/demo [--seconds 15]
"""

import argparse
import itertools
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import numpy as np

from jobs.bench.serve import replicas_below
from jobs.services.load_generator import BROKEN, Address, closed_loop, request_bytes
from jobs.services.process import LOOPBACK, free_port, running


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    port = free_port()
    command = [sys.executable, "-m", "serving", "--workspace", str(options.workspace), "--port", str(port)]
    with running(command, port, "/readyz", os.environ | {"RECSYS_SERVE__REPLICAS": "2"}) as service:
        for retries in (1, 0):
            wait_for_replicas((LOOPBACK, port))
            pids = sorted(replicas_below(service.pid))
            lost = failed((LOOPBACK, port), options.seconds, retries, partial(os.kill, pids[0], signal.SIGKILL))
            print(f"{len(pids)} replicas, one killed, {retries} retries: {lost}")
    return 0


def failed(address: Address, seconds: float, retries: int, kill: Callable[[], object]) -> str:
    """Results of the requests of four connections; `kill` is called after a third of the time."""
    asks = itertools.repeat(request_bytes("POST", "/v1/recommend", json.dumps({"user_id": "anybody"}).encode()))
    killer = threading.Timer(seconds / 3, kill)
    killer.start()
    load = closed_loop(address, asks, 4, seconds, retries=retries)
    killer.join()
    n_failed = int(((load.status == BROKEN) | (load.status >= 500)).sum())
    statuses, counts = np.unique(load.status, return_counts=True)
    return f"{n_failed} failed; by status {dict(zip(statuses.tolist(), counts.tolist(), strict=True))}"


def wait_for_replicas(address: Address, release_id: str = "") -> None:
    """Return when both replicas use a release, or the given one: loading it takes a while."""
    url, both = f"http://{address[0]}:{address[1]}/metrics", rf'^recsys_release_replicas\{{.*"{release_id}.*\}} 2'
    with httpx.Client(timeout=30, trust_env=False) as client:
        while not re.search(both, client.get(url).text, re.MULTILINE):
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
