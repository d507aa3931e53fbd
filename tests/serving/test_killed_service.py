"""`kill -9` of the service: nothing of it stays, and the next start works."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from served_shop import descendants, free_port, is_alive, kill, listening_addresses, publish, started


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    publish(root, "r1")
    return root


def test_a_killed_service_leaves_nothing_and_starts_again(workspace: Path) -> None:
    port, temp = free_port(), Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    first = started(workspace, port, TMPDIR=str(temp))
    assert [folder.name[:3] for folder in temp.iterdir()] == ["rs-"]
    kill(first, descendants(first.pid))
    assert listening_addresses(port) == set()
    assert list(temp.iterdir()) == []

    second = started(workspace, port, TMPDIR=str(temp))
    processes = descendants(second.pid)
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in processes}
    (watcher,) = [pid for pid, parts in commands.items() if any(part.endswith("watcher.py") for part in parts)]
    agents = {pid for pid, parts in commands.items() if "Agent" in parts[0]}
    os.kill(watcher, signal.SIGKILL)
    kill(second, processes - agents - {watcher})  # without a watcher Ray ends by itself but for its agents
    assert listening_addresses(port) == set()
    assert len(list(temp.iterdir())) == 1

    third = started(workspace, port, TMPDIR=str(temp))
    assert not processes & {int(place.name) for place in Path("/proc").glob("[0-9]*") if is_alive(place)}
    third.send_signal(signal.SIGINT)
    third.communicate(timeout=60)
    assert third.returncode == 0
    note = workspace.with_name(f"{workspace.name}-{port}.err").read_text()
    assert note.startswith(f"recsys: ended what a killed service on port {port} had left (its pid {second.pid}, ")
    assert note.count("\n") == 1
    assert list(temp.iterdir()) == []
    temp.rmdir()
