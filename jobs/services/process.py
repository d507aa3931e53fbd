"""A service as a process of its own, there as long as a block runs."""

from __future__ import annotations

import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Final

from recsys.errors import ServeError

START_S: Final = 240.0
"""The longest wait: Ray takes a minute on a busy laptop."""

STOP_S: Final = 60.0
LOOPBACK: Final = "127.0.0.1"
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the environment would not reach this machine."""


@contextmanager
def running(
    command: Sequence[str], port: int, ready_path: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command and yield once it answers `ready_path`; end it with the block.

    Raises CalledProcessError where it ends before, ServeError where it does not answer in time.
    """
    process = subprocess.Popen(command, env=environment)
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
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_ready(process: subprocess.Popen[bytes], command: Sequence[str], url: str) -> None:
    deadline = monotonic() + START_S
    while monotonic() < deadline:
        if process.poll() is not None:
            raise subprocess.CalledProcessError(process.returncode, list(command))
        try:
            with _OPENER.open(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            sleep(0.2)
    raise ServeError(f"{url} did not answer within {START_S:.0f} s; see what {' '.join(command[:4])} printed above")
