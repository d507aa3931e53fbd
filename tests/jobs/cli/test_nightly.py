"""`recsys nightly` on the command line."""

import os
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import PublishedShop

import jobs.nightly.steps
from features.store.store import Store
from features.workspace.lease import hold_lease
from jobs.__main__ import main
from jobs.cli.scheduler import STOPPED
from jobs.nightly.record import read_runs
from recsys.workspace import Workspace


@pytest.fixture
def workspace(published_shop: PublishedShop, tmp_path: Path) -> Workspace:
    """The shop after its first nightly run, with a settings file in the workspace."""
    copied = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, copied.root)
    copied.settings_file.write_text(
        "[embed]\ninline_texts = 100000\n[factors]\ndim = 8\n[evaluate]\nmin_users = 30\n"
        "[sequence]\ndim = 16\nlayers = 1\nepochs = 2\n[fusion]\nmin_targets = 5\n"
        '[ranking]\nmin_targets = 5\nmin_leaf = 5\ntrees = 10\n[repeats]\nmode = "always"\n'
        "[nightly]\nfull_retrain_share = 0.0\nfree_disk_mb = 0\nfree_memory_mb = 0\n"
    )
    return copied


def test_a_run_without_new_data_says_so_and_names_the_served_release(
    workspace: Workspace, published_shop: PublishedShop, capsys: pytest.CaptureFixture[str]
) -> None:
    as_of = published_shop.report.as_of.isoformat()
    assert main(["nightly", "--workspace", str(workspace.root), "--as-of", as_of]) == 0
    output = capsys.readouterr().out
    assert f"nothing has changed since release {published_shop.report.release_id}; it is live in" in output
    assert "reused" in output


def test_a_dry_run_prints_a_row_per_step(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_runs(workspace)
    assert main(["nightly", "--workspace", str(workspace.root), "--dry-run", "--from", "fit"]) == 0
    output = capsys.readouterr().out
    (row,) = [line for line in output.splitlines() if line.split()[:1] == ["fit"]]
    assert "run" in row and " s " in row and "requested" in row
    assert read_runs(workspace) == before


def test_a_moment_before_the_first_event_is_one_line_and_exit_code_2(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nightly", "--workspace", str(workspace.root), "--as-of", "1990-01-02"]) == 2
    assert "choose a later --as-of" in capsys.readouterr().err


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


def test_a_run_is_refused_while_another_one_runs(
    workspace: Workspace, published_shop: PublishedShop, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_runs(workspace)
    with hold_lease(workspace.lease, published_shop.report.as_of + timedelta(days=1), 10):
        assert main(["nightly", "--workspace", str(workspace.root)]) == 2
    assert "writes to this workspace since" in capsys.readouterr().err
    assert read_runs(workspace) == before


def test_a_schedule_excludes_the_other_options(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nightly", "--workspace", str(workspace.root), "--every", "24h", "--resume"]) == 2
    assert "--every cannot be combined with --as-of, --only, --from, --resume" in capsys.readouterr().err
