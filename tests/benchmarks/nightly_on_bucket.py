"""Cost of a workspace on object storage for nightly runs and a service, measured against a local S3 server.

PYTHONPATH=.:tests python tests/benchmarks/nightly_on_bucket.py --workspace W

Copies W into the bucket, then measures a nightly run, a run without new data, a service's first copy and its poll.
Prints seconds, those spent on pull, push and sweep, the number of requests, and megabytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from object_storage import counting_proxy, s3_server

from features.workspace.location import NIGHT, follow, served, working
from features.workspace.mirror import Mirror
from jobs.__main__ import main as recsys

URL = "s3://shops/measured"


def clock() -> datetime:
    return datetime.now(UTC)


def timed(spent: dict[str, float], name: str) -> None:
    """Add the seconds of the mirror's method of this name to `spent`."""
    method: Callable[..., object] = getattr(Mirror, name)

    def measured(self: Mirror, *rest: object) -> object:
        started = monotonic()
        try:
            return method(self, *rest)
        finally:
            spent[name] = spent.get(name, 0.0) + monotonic() - started

    setattr(Mirror, name, measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True, help="workspace with a release; it is not changed")
    workspace = parser.parse_args().workspace
    spent: dict[str, float] = {}
    for name in ("pull", "push", "sweep"):
        timed(spent, name)
    with tempfile.TemporaryDirectory() as folder, s3_server() as port, counting_proxy(port) as endpoint:
        access = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        os.environ.update(access | {"AWS_ENDPOINT_URL": endpoint.url, "RECSYS_CACHE": f"{folder}/one"})
        row = "{:<34} {:>7} {:>6} {:>6} {:>6} {:>9} {:>8}"
        print(row.format("", "s", "pull", "push", "sweep", "requests", "MB"))

        @contextmanager
        def measured(what: str) -> Iterator[None]:
            spent.clear()
            endpoint.requests.clear()
            endpoint.n_bytes = 0
            started = monotonic()
            yield
            took = [f"{spent.get(name, 0.0):.2f}" for name in ("pull", "push", "sweep")]
            n_bytes = f"{endpoint.n_bytes / 1e6:.2f}"
            print(row.format(what, f"{monotonic() - started:.2f}", *took, len(endpoint.requests), n_bytes), flush=True)

        measure(workspace, folder, measured)


def measure(workspace: Path, folder: str, measured: Callable[[str], AbstractContextManager[None]]) -> None:
    with measured("first upload"), working(URL, NIGHT, clock) as place:
        shutil.copytree(workspace, place.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("live"))
    with measured("a command that changes nothing"), working(URL, NIGHT, clock):
        pass
    for what in ("a nightly run", "a nightly run without new data"):
        with measured(what):
            if recsys(["nightly", "--workspace", URL]):
                raise SystemExit("the nightly run failed")
    os.environ["RECSYS_CACHE"] = f"{folder}/two"
    with measured("a service's first copy"):
        _, mirror = served(URL)
    assert mirror is not None
    with measured("a poll of the service"):
        follow(mirror)
    with measured("a command on another machine"), working(URL, NIGHT, clock):
        pass


if __name__ == "__main__":
    main()
