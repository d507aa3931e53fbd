"""`recsys nightly` as a person types it, and as a machine runs it."""

import os
import shutil
import signal
import socket
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import PublishedShop

import jobs.cli.nightly
import jobs.nightly.steps
from features.store.store import Store
from features.workspace.lease import hold_lease
from jobs.__main__ import main
from jobs.cli.nightly import STOPPED, end_late, ended_by_sigterm, run_every, seconds_of
from jobs.nightly.record import read_runs
from recsys.errors import ConfigError
from recsys.workspace import Workspace


@pytest.fixture
def workspace(published_shop: PublishedShop, tmp_path: Path) -> Workspace:
    """The shop after its first night, with its settings in its own file."""
    copied = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, copied.root)
    copied.settings_file.write_text(
        "[embed]\ninline_texts = 100000\n[factors]\ndim = 8\n[evaluate]\nmin_users = 30\n"
        "[sequence]\ndim = 16\nlayers = 1\nepochs = 2\n[fusion]\nmin_targets = 5\n"
        '[ranking]\nmin_targets = 5\nmin_leaf = 5\ntrees = 10\n[repeats]\nmode = "always"\n'
        "[nightly]\nfull_retrain_share = 0.0\nfree_disk_mb = 0\nfree_memory_mb = 0\n"
    )
    return copied


def test_a_night_without_news_says_so_and_which_release_serves(
    workspace: Workspace, published_shop: PublishedShop, capsys: pytest.CaptureFixture[str]
) -> None:
    as_of = published_shop.report.as_of.isoformat()
    assert main(["nightly", "--workspace", str(workspace.root), "--as-of", as_of]) == 0
    said = capsys.readouterr().out
    assert f"nothing has changed since release {published_shop.report.release_id}; it is live in" in said
    assert "reused" in said


def test_a_dry_run_is_a_row_a_step(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nightly", "--workspace", str(workspace.root), "--dry-run", "--from", "fit"]) == 0
    said = capsys.readouterr().out
    (row,) = [line for line in said.splitlines() if line.split()[:1] == ["fit"]]
    assert "run" in row and " s " in row and "asked for" in row
    assert len(read_runs(workspace)) == 1


def test_sigterm_stops_a_run_at_once_and_gives_the_lease_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(jobs.nightly.steps, "publish", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as stopped:
        main(["nightly", "--workspace", str(workspace.root), "--from", "publish"])
    assert stopped.value.code == STOPPED == 143
    assert (read_runs(workspace)[-1].status, read_runs(workspace)[-1].steps[-1].status) == ("stopped", "failed")
    assert workspace.lease.read_bytes() == b""
    assert Store(workspace).open()
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_ends_with_its_own_code_whatever_a_library_makes_of_it() -> None:
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
    """A library may compute for minutes: the interpreter tells the watching thread of the signal all the same."""
    ended: list[int] = []
    monkeypatch.setattr(jobs.cli.nightly, "PATIENCE_S", 0.0)
    monkeypatch.setattr(jobs.cli.nightly.os, "_exit", ended.append)
    reader, writer = socket.socketpair()
    done = threading.Event()
    if came_back:
        done.set()
    with writer:
        writer.send(bytes([signal.SIGCHLD, signal.SIGTERM]))
    end_late(reader, done)
    assert ended == codes


def test_another_run_keeps_a_night_out(
    workspace: Workspace, published_shop: PublishedShop, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_lease(workspace.lease, published_shop.report.as_of + timedelta(days=1), 10):
        assert main(["nightly", "--workspace", str(workspace.root)]) == 2
    assert "writes to this workspace since" in capsys.readouterr().err
    assert len(read_runs(workspace)) == 1


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("24h", 86400), ("1.5d", 129600)])
def test_a_time_between_runs_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["24", "h", "-1h", "0h", "1w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write it like 24h, 90m or 1d"):
        seconds_of(text)


def test_nights_on_a_schedule_are_of_now(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nightly", "--workspace", str(workspace.root), "--every", "24h", "--resume"]) == 2
    assert "leave the other options out" in capsys.readouterr().err


def test_a_failed_night_is_logged_and_the_next_one_comes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise SystemExit(STOPPED)

    monkeypatch.setattr(jobs.cli.nightly, "sleep", wait)
    with pytest.raises(SystemExit):
        run_every(3600, [sys.executable, "-c", "raise SystemExit(4)"])
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "night failed exit_code=4; the next one goes on where it stopped"
    ] * 2
    assert all(3000 < seconds <= 3600 for seconds in waited)


def test_the_end_of_a_schedule_ends_its_night(monkeypatch: pytest.MonkeyPatch) -> None:
    class Night:
        ended = False

        def wait(self) -> int:
            if not self.ended:
                os.kill(os.getpid(), signal.SIGTERM)
            return STOPPED

        def terminate(self) -> None:
            self.ended = True

    night = Night()
    monkeypatch.setattr(jobs.cli.nightly.subprocess, "Popen", lambda command: night)
    with pytest.raises(SystemExit), ended_by_sigterm():
        run_every(3600, ["recsys", "nightly"])
    assert night.ended
