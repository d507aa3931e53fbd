"""`recsys nightly --every`: run a command on a schedule, and end a run cleanly on SIGTERM."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from types import FrameType
from typing import Final, NoReturn

from features.processes.parent_death import ending_with_parent
from recsys.errors import HELD_BACK, ConfigError

log = logging.getLogger(__name__)

STOPPED: Final = 128 + signal.SIGTERM
"""Exit code after SIGTERM."""

PATIENCE_S: Final = 20.0
"""Time to stop after SIGTERM; less than the 30 s after which Kubernetes kills the process."""

_SECONDS = {"m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> float:
    """Parse an interval such as "90m", "24h" or "1d". Raises ConfigError for anything else."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([mhd])", text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds < 1:
        raise ConfigError(f"--every {text!r}: not an interval; write it like 24h, 90m or 1d")
    return seconds


def run_every(seconds: float, command: list[str]) -> NoReturn:
    """Run the command now, then once per interval, measured from start to start.

    Each run is a process of its own, so neither leaked memory nor a crash affects the next. If a run takes longer than
    the interval, the next one starts immediately after it.
    """
    while True:
        started, run = monotonic(), None
        try:
            run = subprocess.Popen(ending_with_parent(command))
            code = run.wait()
        except SystemExit:  # SIGTERM: pass it on and wait until the run has stopped
            if run is not None:
                run.terminate()
                run.wait()
            raise
        if code == HELD_BACK:
            log.warning("nightly run held back by checks or gate; the served release stays")
        elif code:
            log.error("nightly run failed exit_code=%d; the next run reuses its finished steps", code)
        wait = max(0.0, seconds - (monotonic() - started))
        log.info("next nightly run in_s=%.0f", wait)
        sleep(wait)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Inside the block, SIGTERM raises SystemExit(STOPPED): leases are released and the run's record says "stopped".

    Ray replaces the exit code when the exception passes through it; this restores it. If a library does not return to
    Python within `PATIENCE_S`, the process exits anyway; the operating system then releases its locks, and the run's
    record looks as after a kill.
    """
    is_stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of signal handlers
        is_stopped.set()
        raise SystemExit(STOPPED)

    before = signal.signal(signal.SIGTERM, stop)
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    woken_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    done = threading.Event()
    threading.Thread(target=end_late, args=(reader, done), daemon=True).start()
    try:
        yield
    except SystemExit as end:
        raise SystemExit(STOPPED if is_stopped.is_set() else end.code) from None
    finally:
        signal.set_wakeup_fd(woken_before)
        signal.signal(signal.SIGTERM, before)
        done.set()
        writer.close()


def end_late(reader: socket.socket, done: threading.Event) -> None:
    """End the process `PATIENCE_S` after SIGTERM unless `done` is set by then.

    The interpreter writes the number of each signal to the other end of `reader` as it arrives, even while a library
    computes without returning to Python.
    """
    with reader:
        while numbers := reader.recv(64):
            if signal.SIGTERM in numbers and not done.wait(PATIENCE_S):
                os._exit(STOPPED)
