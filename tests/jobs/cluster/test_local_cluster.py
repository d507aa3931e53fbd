"""The local cluster of a run: real processes, which end with the run and leave no files, however it ends."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from served_shop import descendants, kill

RUN = """
import sys, time
import ray
from jobs.cluster.ray_cluster import start_ray

@ray.remote
class Worker:
    def begin(self):
        return 1
    def work(self):
        while True:
            pass

start_ray()
worker = Worker.remote()
print(ray.get(worker.begin.remote()), flush=True)
worker.work.remote()
sys.stdin.readline()
"""


@pytest.fixture
def temp() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as name:
        yield Path(name)


def begun(temp: Path) -> subprocess.Popen[str]:
    """A run whose worker computes without end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(temp)}
    run = subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "1\n"
    return run


def sessions(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("session_*")}


def test_a_run_that_ends_takes_its_session_along_and_no_other(temp: Path) -> None:
    others = sessions(Path("/tmp/ray"))
    run = begun(temp)
    (folder,) = temp.iterdir()
    assert sessions(folder / "ray")
    run.communicate("\n", timeout=60)
    assert run.returncode == 0
    assert list(temp.iterdir()) == []
    assert sessions(Path("/tmp/ray")) >= others


def test_a_run_that_is_killed_leaves_no_process_and_no_session(temp: Path) -> None:
    run = begun(temp)
    processes = descendants(run.pid)
    assert len(processes) > 3
    kill(run, processes)
    assert list(temp.iterdir()) == []
