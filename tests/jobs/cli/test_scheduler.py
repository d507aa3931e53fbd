"""`recsys nightly --every`: the schedule, and SIGTERM."""

import os
import signal
import socket
import sys
import threading

import pytest

import jobs.cli.scheduler
from jobs.cli.scheduler import STOPPED, end_late, ended_by_sigterm, run_every, seconds_of
from recsys.errors import ConfigError


def test_sigterm_keeps_its_exit_code_whatever_a_library_makes_of_it() -> None:
    with pytest.raises(SystemExit) as stopped, ended_by_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except SystemExit:
            raise SystemExit(1) from None  # as Ray does
    assert stopped.value.code == STOPPED
    with pytest.raises(SystemExit) as ended, ended_by_sigterm():
        raise SystemExit(7)
    assert ended.value.code == 7


@pytest.mark.parametrize(("came_back", "codes"), [(False, [STOPPED]), (True, [])])
def test_a_run_that_does_not_come_back_to_python_is_ended(
    came_back: bool, codes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library may compute for minutes; the interpreter passes the signal to the watching thread meanwhile."""
    ended: list[int] = []
    monkeypatch.setattr(jobs.cli.scheduler, "PATIENCE_S", 0.0)
    monkeypatch.setattr(jobs.cli.scheduler.os, "_exit", ended.append)
    reader, writer = socket.socketpair()
    done = threading.Event()
    if came_back:
        done.set()
    with writer:
        writer.send(bytes([signal.SIGCHLD, signal.SIGTERM]))
    end_late(reader, done)
    assert ended == codes


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("24h", 86400), ("1.5d", 129600)])
def test_an_interval_is_parsed(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["24", "h", "-1h", "0h", "1w"])
def test_what_is_not_an_interval_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write it like 24h, 90m or 1d"):
        seconds_of(text)


def test_a_failed_run_is_logged_and_the_next_one_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise SystemExit(STOPPED)

    monkeypatch.setattr(jobs.cli.scheduler, "sleep", wait)
    with pytest.raises(SystemExit):
        run_every(3600, [sys.executable, "-c", "raise SystemExit(4)"])
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "nightly run failed exit_code=4; the next run reuses its finished steps"
    ] * 2
    assert all(3000 < seconds <= 3600 for seconds in waited)


def test_the_end_of_a_schedule_ends_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Run:
        ended = False

        def wait(self) -> int:
            if not self.ended:
                os.kill(os.getpid(), signal.SIGTERM)
            return STOPPED

        def terminate(self) -> None:
            self.ended = True

    run = Run()
    monkeypatch.setattr(jobs.cli.scheduler.subprocess, "Popen", lambda command: run)
    with pytest.raises(SystemExit), ended_by_sigterm():
        run_every(3600, ["recsys", "nightly"])
    assert run.ended
