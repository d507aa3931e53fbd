"""Services that a job starts: they end with it, also when it is killed."""

import os
import select
import subprocess
import sys

import pytest

RUNNING = """
import sys
from jobs.services.process import free_port, running
port = free_port()
with running([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], port, "/") as process:
    print(process.pid, flush=True)
    sys.stdin.read()
"""
SCHEDULED = """
import sys
from jobs.cli.scheduler import run_every
run_every(3600, [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
@pytest.mark.parametrize("code", [RUNNING, SCHEDULED], ids=["service", "scheduled run"])
def test_what_a_job_starts_ends_when_the_job_is_killed(code: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as job:
        assert job.stdout is not None
        child = os.pidfd_open(int(next(line for line in job.stdout if line.strip().isdigit())))
        job.kill()
    assert select.select([child], [], [], 30)[0]
    os.close(child)
