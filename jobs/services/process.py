"""Run a service as a separate process for the length of a block."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Final

import httpx

from features.processes.parent_death import ending_with_parent
from recsys.errors import ServeError

START_S: Final = 240.0
"""Longest wait until the service is ready: Ray takes a minute on a busy laptop."""

STOP_S: Final = 60.0
LOOPBACK: Final = "127.0.0.1"


@contextmanager
def running(
    command: Sequence[str], port: int, ready_path: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command, yield once `ready_path` answers with 2xx, and stop the process at the end of the block.
    It also ends when this process is killed.

    Raises CalledProcessError if the process exits before, ServeError if it is not ready in time.
    """
    process = subprocess.Popen(ending_with_parent(command), env=environment)
    try:
        _wait_until_ready(process, command, f"http://{LOOPBACK}:{port}{ready_path}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_ready(process: subprocess.Popen[bytes], command: Sequence[str], url: str) -> None:
    deadline = monotonic() + START_S
    # trust_env=False: a proxy from the environment cannot reach a service on this machine.
    with httpx.Client(timeout=5, trust_env=False) as client:
        while monotonic() < deadline:
            if process.poll() is not None:
                raise subprocess.CalledProcessError(process.returncode, list(command))
            try:
                if client.get(url).is_success:
                    return
            except httpx.TransportError:
                pass
            sleep(0.2)
    raise ServeError(f"{url} was not ready within {START_S:.0f} s; see the output of {' '.join(command[:4])} above")
