"""The folder of a run: it goes with the run's processes, whatever ends the run."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.processes import watcher
from features.processes.run_folder import FAILED_FILE, OWNER_FILE, RunFolder, clear_dead_runs, temp_base
from recsys.errors import ResourceError

RUN = """
import os, subprocess, sys
from features.processes.run_folder import RunFolder
run = RunFolder("shop", 8301)
with run.marked():
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(run.path, child.pid, run._watcher.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's folder for temporary files: empty, and with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as name:
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        yield Path(name)
    monkeypatch.setattr(tempfile, "tempdir", None)


def killed_run(*, with_watcher: bool) -> tuple[Path, int]:
    """The folder of a run that was killed, and its child, which has ended where the watcher was left to end it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stdout is not None
        folder, child, watching = run.stdout.readline().split()
        if with_watcher:
            ends = [os.pidfd_open(int(child)), os.pidfd_open(int(watching))]
        else:
            os.kill(int(watching), 9)
            ends = []
        run.kill()
    for descriptor in ends:
        assert select.select([descriptor], [], [], 30)[0]
        os.close(descriptor)
    return Path(folder), int(child)


def test_a_closed_run_leaves_no_process_and_no_folder(temp: Path) -> None:
    run = RunFolder()
    with run.marked():
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (run.path / "log").write_text("x")
    run.close()
    assert child.wait(30) == -9
    assert list(temp.iterdir()) == []


def test_a_killed_run_leaves_no_process_and_no_folder(temp: Path) -> None:
    killed_run(with_watcher=True)
    assert list(temp.iterdir()) == []


def test_a_start_of_the_same_shop_or_port_ends_what_a_killed_one_left(temp: Path) -> None:
    folder, child = killed_run(with_watcher=False)
    assert clear_dead_runs("another", 8000) == []
    assert watcher.processes_of(str(folder)) == {child: "sleep"}
    (orphans,) = clear_dead_runs("shop", 9000)
    assert orphans.names == {child: "sleep"}
    assert str(orphans).startswith("ended what a killed service on port 8301 had left (its pid ")
    assert str(orphans).endswith(f", its folder {folder}): sleep {child}")
    assert watcher.processes_of(str(folder)) == {}
    assert list(temp.iterdir()) == []


def test_a_living_run_is_left_alone(temp: Path) -> None:
    run = RunFolder("shop", 8301)
    with run.marked():
        child = subprocess.Popen(["sleep", "600"])
    assert clear_dead_runs("shop", 8301) == []
    assert child.poll() is None
    assert run.path.is_dir()
    run.close()
    child.wait(30)
    assert list(temp.iterdir()) == []


def test_folders_that_are_not_of_a_run_are_left_alone(temp: Path) -> None:
    (temp / "rs-backup").mkdir()
    (temp / "rs-notes").write_text("x")
    assert clear_dead_runs("shop", 8301) == []
    assert sorted(path.name for path in temp.iterdir()) == ["rs-backup", "rs-notes"]


def test_the_logs_of_a_failed_start_stay_for_a_day(temp: Path) -> None:
    run = RunFolder("shop", 8301)
    (run.path / "log").write_text("why")
    run.close(failed=True)
    assert clear_dead_runs("shop", 8301) == []
    assert (run.path / "log").read_text() == "why"
    os.utime(run.path / FAILED_FILE, (0, 0))
    clear_dead_runs("shop", 8301)
    assert list(temp.iterdir()) == []


def test_a_damaged_owner_file_does_not_stop_a_start(temp: Path) -> None:
    folder = temp / "rs-damaged"
    folder.mkdir()
    (folder / OWNER_FILE).write_text("{")
    assert clear_dead_runs("shop", 8301) == []
    assert not folder.exists()


@pytest.mark.usefixtures("temp")
def test_only_the_user_reads_the_folder_and_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    run = RunFolder("shop", 8301)
    assert run.path.stat().st_mode & 0o777 == 0o700
    assert json.loads((run.path / OWNER_FILE).read_text()) == {"pid": os.getpid(), "workspace": "shop", "port": 8301}
    with run.marked():
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert token.is_relative_to(run.path)
        assert len(token.read_text()) == 64
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    assert watcher.MARK not in os.environ
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/etc/ray-token")
    with run.marked():
        assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/etc/ray-token"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/etc/ray-token"
    run.close()


def test_a_long_folder_for_temporary_files_gives_way_to_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 40)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert temp_base() == Path("/tmp")


def test_without_a_folder_for_temporary_files_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ResourceError, match="set TMPDIR to a folder that can be written"):
        temp_base()


@pytest.mark.usefixtures("temp")
def test_ray_keeps_its_token_in_its_own_place_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has used one token cannot start a cluster with another."""
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    run = RunFolder()
    with run.marked():
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    run.close()
