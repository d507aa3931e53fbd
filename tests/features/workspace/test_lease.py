import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.workspace.lease import check_lease, hold_lease
from recsys.errors import StoreError

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
REPOSITORY = Path(__file__).parents[3]

HOLD_UNTIL_KILLED = """
import sys
from datetime import datetime
from pathlib import Path
from features.workspace.lease import hold_lease
with hold_lease(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), minutes=10):
    print("held", flush=True)
    sys.stdin.read()
"""


def leave_by_another_machine(path: Path, until: datetime) -> None:
    left = {"pid": 7, "host": "elsewhere.example", "token": "t", "since": NOW.isoformat(), "until": until.isoformat()}
    path.write_text(json.dumps(left))


def test_a_held_lease_is_refused_and_its_holder_named(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    with hold_lease(path, NOW, minutes=10) as lease:
        with (
            pytest.raises(StoreError, match=rf"process {lease.pid} .*until 2026-11-23 03:10 UTC"),
            hold_lease(path, NOW, minutes=10),
        ):
            pass
        check_lease(path, lease)  # the refused one changed nothing


def test_a_lease_past_its_expiry_stays_while_its_process_lives_here(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    with (
        hold_lease(path, NOW, minutes=10),
        pytest.raises(StoreError, match="writes to this workspace"),
        hold_lease(path, NOW + timedelta(days=1), minutes=10),
    ):
        pass


def test_a_released_lease_is_free(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lease.json"
    with hold_lease(path, NOW, minutes=10) as first:
        pass
    with hold_lease(path, NOW, minutes=10) as second:
        check_lease(path, second)
    assert first.token != second.token


def test_an_error_inside_releases_the_lease(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    with pytest.raises(ZeroDivisionError), hold_lease(path, NOW, minutes=10):
        _ = 1 / 0
    with hold_lease(path, NOW, minutes=10) as lease:
        check_lease(path, lease)


def test_a_live_process_is_respected_and_a_killed_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    command = [sys.executable, "-c", HOLD_UNTIL_KILLED, str(path), NOW.isoformat()]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"process {child.pid} on "), hold_lease(path, NOW, minutes=10):
            pass
        child.kill()
        child.wait()
        with hold_lease(path, NOW, minutes=10) as lease:
            check_lease(path, lease)


def test_another_machines_lease_is_respected_until_it_expires(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    leave_by_another_machine(path, until=NOW + timedelta(minutes=1))
    with (
        pytest.raises(StoreError, match=r"process 7 on elsewhere\.example .*until 2026-11-23 03:01 UTC"),
        hold_lease(path, NOW, minutes=10),
    ):
        pass
    with hold_lease(path, NOW + timedelta(minutes=1), minutes=10) as lease:
        check_lease(path, lease)


def test_a_lease_file_damaged_by_a_crash_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    path.write_text('{"pid": 7, "ho')
    with hold_lease(path, NOW, minutes=10) as lease:
        check_lease(path, lease)


def test_a_lease_that_was_taken_over_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    with hold_lease(path, NOW, minutes=10) as lease:
        leave_by_another_machine(path, until=NOW + timedelta(hours=1))
        with pytest.raises(StoreError, match=r"process 7 on elsewhere\.example took it; nothing changed"):
            check_lease(path, lease)
    assert json.loads(path.read_text())["host"] == "elsewhere.example"  # not ours to clear
