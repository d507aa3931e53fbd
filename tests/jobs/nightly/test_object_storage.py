"""Commands on a workspace at `s3://…`, as three machines type them."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import PublishedShop
from object_storage import Endpoint

from features.workspace.location import NIGHT, reading, working
from jobs.__main__ import main
from jobs.lake.lake import Lake

SETTINGS = """
factors = { dim = 8 }
evaluate = { min_users = 30 }
sequence = { dim = 16, layers = 1, epochs = 2 }
fusion = { min_targets = 5 }
ranking = { min_targets = 5, min_leaf = 5, trees = 10 }
repeats = { mode = "always" }
"""

EVENTS = "event_id,user_id,item_id,event_type,timestamp\ne{n},u1,i1,view,2024-05-0{n}T10:00:00Z\n"

Machine = Callable[[str], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, s3: Endpoint) -> Machine:
    """From now on commands run on the machine of this name."""
    return lambda name: monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / name))


def run(url: str, *arguments: str) -> int:
    return main([*arguments, "--workspace", url])


def clock() -> datetime:
    return datetime.now(UTC)


def test_events_of_two_machines_meet_in_the_lake(s3_url: str, machine: Machine, tmp_path: Path) -> None:
    for n, name in ((1, "one"), (2, "two")):
        machine(name)
        (tmp_path / f"{n}.csv").write_text(EVENTS.format(n=n))
        assert run(s3_url, "ingest", "table", "--events", str(tmp_path / f"{n}.csv")) == 0
    with reading(s3_url, "lake") as workspace:
        assert sorted(Lake(workspace.lake).scan("events").collect()["event_id"]) == ["e1", "e2"]


def test_what_one_machine_has_ingested_another_takes_back(
    s3_url: str, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine("one")
    for n in (1, 2):
        (tmp_path / f"{n}.csv").write_text(EVENTS.format(n=1).replace("e1", f"e{n}"))
        assert run(s3_url, "ingest", "table", "--events", str(tmp_path / f"{n}.csv")) == 0
    machine("two")
    assert run(s3_url, "ingest", "undo", "2") == 0
    machine("three")
    capsys.readouterr()
    assert run(s3_url, "ingest", "history", "--json") == 0
    assert [(entry["id"], entry["undone_at"] is None) for entry in json.loads(capsys.readouterr().out)] == [
        (2, False),
        (1, True),
    ]
    with reading(s3_url, "lake") as workspace:
        assert Lake(workspace.lake).scan("events").collect()["event_id"].to_list() == ["e1"]


def test_bad_rows_are_kept_for_whoever_looks(s3_url: str, machine: Machine, tmp_path: Path, capsys) -> None:
    machine("one")
    (tmp_path / "bad.csv").write_text(EVENTS.format(n=1) + "e2,u1,i1,dance,2024-05-02T10:00:00Z\n")
    assert run(s3_url, "ingest", "table", "--events", str(tmp_path / "bad.csv")) == 2
    assert "error" in capsys.readouterr().err
    machine("two")
    with working(s3_url, NIGHT, clock) as workspace:
        assert not Lake(workspace.lake).n_rows("events")
        assert list(workspace.quarantine.rglob("*.parquet"))


def test_a_run_on_one_machine_is_listed_and_read_on_another(
    published_shop: PublishedShop, s3_url: str, s3: Endpoint, machine: Machine, tmp_path: Path, capsys
) -> None:
    machine("one")
    with working(s3_url, NIGHT, clock) as workspace:
        shutil.copytree(published_shop.workspace.root, workspace.root, dirs_exist_ok=True)
        shutil.rmtree(workspace.sample)
        (workspace.root / "recsys.toml").write_text(SETTINGS)
    machine("two")
    assert run(s3_url, "nightly") == 0
    assert f"is live in {s3_url}" in capsys.readouterr().out
    machine("three")
    s3.requests.clear()
    assert run(s3_url, "releases", "list", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["release_id"], first["current"]) == (published_shop.report.release_id, False)
    assert second["current"]
    assert not [path for _, path in s3.requests if "/lake/" in path or "/embeddings/" in path]
    assert run(s3_url, "recommend", "--user", "stranger", "--count", "3") == 0
    assert second["release_id"] in capsys.readouterr().out


def test_keys_and_hidden_reviews_are_changed_without_fetching_the_rest(
    s3_url: str, s3: Endpoint, machine: Machine, capsys
) -> None:
    machine("one")
    with working(s3_url, NIGHT, clock) as workspace:
        workspace.releases.mkdir()
        workspace.current.write_text("a")
    s3.requests.clear()
    assert run(s3_url, "keys", "create", "shop") == 0
    assert run(s3_url, "reviews", "hide", "r1") == 0
    machine("two")
    assert run(s3_url, "keys", "revoke", "shop") == 0
    capsys.readouterr()
    assert run(s3_url, "keys", "list", "--json") == 0
    assert [key["state"] for key in json.loads(capsys.readouterr().out)] == ["revoked"]
    assert run(s3_url, "reviews", "list", "--json") == 0
    assert [review["review_id"] for review in json.loads(capsys.readouterr().out)] == ["r1"]
    assert not [path for _, path in s3.requests if "CURRENT" in path]


@pytest.mark.parametrize("place", ["s3:/shop/w", "s3://SHOP/w"])
def test_a_url_that_is_none_is_one_line_and_exit_code_2(place: str, capsys) -> None:
    assert run(place, "releases", "list") == 2
    assert "s3://bucket/prefix" in capsys.readouterr().err


def test_an_empty_bucket_says_what_to_do(s3_url: str, machine: Machine, capsys) -> None:
    machine("one")
    assert run(s3_url, "releases", "list") == 2
    assert f"recsys nightly --workspace {s3_url}" in capsys.readouterr().err


def test_a_workspace_is_copied_to_object_storage_and_back(
    s3_url: str, machine: Machine, tmp_path: Path, capsys
) -> None:
    machine("one")
    first, last = tmp_path / "first", tmp_path / "last"
    for name in ("lake/events/day", "releases/CURRENT", "live/live.sqlite"):
        (first / name).parent.mkdir(parents=True, exist_ok=True)
        (first / name).write_text(name)
    assert main(["copy", str(first), s3_url]) == 0
    machine("two")
    assert main(["copy", s3_url, str(last)]) == 0
    assert f"copied 2 files to {last}" in capsys.readouterr().out
    shutil.rmtree(first / "live")
    assert contents(last) == contents(first)
    assert main(["copy", str(first), s3_url]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["copy", str(tmp_path / "nothing"), str(tmp_path / "new")]) == 2
    assert "no workspace" in capsys.readouterr().err


def contents(root: Path) -> dict[str, str]:
    paths = [path for path in root.rglob("*") if path.is_file() and path.name != "lease.json"]
    return {path.relative_to(root).as_posix(): path.read_text() for path in paths}
