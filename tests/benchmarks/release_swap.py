"""Time until every replica serves the release of a rollback, and number of requests that fail meanwhile.

python tests/benchmarks/release_swap.py --workspace W [--seconds 20] [--swaps 4]

W needs at least two releases. Under load of four connections, `recsys releases rollback` switches to the release before
the served one, and back. After an even number of swaps, W serves the same release as before.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from replica_loss import wait_for_replicas

from features.store.store import Store
from jobs.services.load_generator import BROKEN, closed_loop, request_bytes
from jobs.services.process import LOOPBACK, free_port, running
from recsys.workspace import Workspace


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--swaps", type=int, default=4)
    options = parser.parse_args()
    store = Store(Workspace(options.workspace))
    served = store.current_id()
    other = next(release.release_id for release in store.releases() if release.release_id != served)
    port = free_port()
    command = [sys.executable, "-m", "serving", "--workspace", str(options.workspace), "--port", str(port)]
    asks = itertools.repeat(request_bytes("POST", "/v1/recommend", json.dumps({"user_id": "anybody"}).encode()))
    with running(command, port, "/readyz", os.environ | {"RECSYS_SERVE__REPLICAS": "2"}):
        wait_for_replicas((LOOPBACK, port))
        for target in itertools.islice(itertools.cycle((other, served)), options.swaps):
            seconds: list[float] = []
            swap = threading.Thread(target=roll_back, args=(options.workspace, str(target), port, seconds))
            swap.start()
            load = closed_loop((LOOPBACK, port), asks, 4, options.seconds)
            swap.join()
            failed = int(((load.status == BROKEN) | (load.status >= 500)).sum())
            p99 = float(np.quantile(load.latency_ms, 0.99))
            print(
                f"to {target}: command {seconds[0]:.1f} s, both replicas {seconds[1]:.1f} s after it; "
                f"{failed} of {len(load.status):,} requests failed, p99 {p99:.1f} ms",
                flush=True,
            )
    return 0


def roll_back(workspace: Path, target: str, port: int, seconds: list[float]) -> None:
    """Append the seconds of the command, and the seconds from its end until both replicas serve the release."""
    time.sleep(1)
    started = time.monotonic()
    command = [sys.executable, "-m", "jobs", "releases", "rollback", target, "--workspace", str(workspace)]
    subprocess.run(command, check=True, capture_output=True)
    ended = time.monotonic()
    wait_for_replicas((LOOPBACK, port), target)
    seconds += [ended - started, time.monotonic() - ended]


if __name__ == "__main__":
    sys.exit(main())
