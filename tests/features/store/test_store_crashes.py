"""A publication that is killed or fails leaves the old release live, and readers never see half a release."""

import shutil
import subprocess
import sys
from pathlib import Path

import lancedb
import pytest
from release_drafts import NOW, TABLES, assert_whole, draft_of, in_one_folder, tables_of, tags_of

from features.store import store as store_module
from features.store.store import PUBLISH_STEPS, Store
from recsys.errors import StoreError
from recsys.workspace import Workspace

REPOSITORY = Path(__file__).parents[3]
# One process imports everything, then forks a publisher for each step, which kills itself with signal 9 after it.
PUBLISH_UNTIL_KILLED = """
import os, signal, sys, traceback
from datetime import datetime
from pathlib import Path
import polars as pl
from features.store import store
from recsys.workspace import Workspace

root, now = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
steps = store.PUBLISH_STEPS

def publish_until_killed(done):
    kill = lambda publication: os.kill(os.getpid(), signal.SIGKILL)
    store.PUBLISH_STEPS = (*steps[:done], ("kill", kill), *steps[done:])
    tables = {name: pl.read_ipc(root / name) for name in ("items", "users", "reviews")}
    draft = store.ReleaseDraft("b", now, tables, root / "model-b", "minilm", "ab", "cd", {})
    store.Store(Workspace(root / str(done))).publish(draft, now)

for done in range(1, len(steps) + 1):
    child = os.fork()
    if child == 0:
        try:
            publish_until_killed(done)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="session")
def killed_publishes(published_a: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `1`, `2`, …: workspaces where the publish of `b` over `a` was killed after so many steps."""
    root = tmp_path_factory.mktemp("killed")
    for name, frame in draft_of("b", 5, root).tables.items():
        frame.write_ipc(root / name)
    for done in range(1, len(PUBLISH_STEPS) + 1):
        shutil.copytree(published_a, root / str(done))
    command = [sys.executable, "-c", PUBLISH_UNTIL_KILLED, str(root), NOW.isoformat()]
    parent = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert parent.stdout.split() == ["-9"] * len(PUBLISH_STEPS), parent.stderr
    return root


@pytest.mark.parametrize("done", range(1, len(PUBLISH_STEPS)), ids=[f"after {name}" for name, _ in PUBLISH_STEPS[:-1]])
def test_kill_9_between_steps_leaves_the_old_release_serving_and_a_rerun_publishes(
    killed_publishes: Path, published_a: Path, tmp_path: Path, done: int
) -> None:
    workspace = Workspace(Path(shutil.copytree(killed_publishes / str(done), tmp_path / "shop")))
    store = Store(workspace)

    assert workspace.current.read_bytes() == Workspace(published_a).current.read_bytes()
    assert_whole(store, "a", 3)
    assert [known.release_id for known in store.releases()] == ["a"]
    with pytest.raises(StoreError, match="no release b"):
        store.open("b")

    store.publish(draft_of("b", 5, tmp_path), NOW)

    assert_whole(store, "b", 5)
    assert_whole(store, "a", 3)
    assert tags_of(workspace) == {name: {"release-a", "release-b"} for name in TABLES}


def test_kill_9_after_the_last_step_leaves_the_new_release_serving(killed_publishes: Path) -> None:
    store = Store(Workspace(killed_publishes / str(len(PUBLISH_STEPS))))
    assert store.current_id() == "b"
    assert_whole(store, "b", 5)
    assert_whole(store, "a", 3)


def test_kill_9_leaves_what_its_step_had_written(killed_publishes: Path) -> None:
    """Otherwise the tests above would pass for a publish that writes nothing before its last step."""
    steps = [name for name, _ in PUBLISH_STEPS]

    def left(step: str) -> Workspace:
        return Workspace(killed_publishes / str(steps.index(step) + 1))

    assert (left("write manifest").releases / "b" / "manifest.json").exists()
    assert (left("copy model").releases / "b" / "model" / "linear.npz").exists()
    assert "release-b" in tags_of(left("tag tables"))["reviews"]
    assert lancedb.connect(str(left("write items").store)).open_table("items").count_rows() == 5


@pytest.mark.parametrize("done", range(1, len(PUBLISH_STEPS)))
def test_another_release_discards_what_a_failed_publish_left(
    store: Store, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    def fail(publication: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "PUBLISH_STEPS", (*PUBLISH_STEPS[:done], ("fail", fail)))
        with pytest.raises(OSError, match="disk full"):
            store.publish(draft_of("b", 5, tmp_path), NOW)

    store.publish(draft_of("c", 4, tmp_path), NOW)

    assert sorted(folder.name for folder in workspace.releases.glob("*/")) == ["a", "c"]
    assert tags_of(workspace) == {key: {"release-a", "release-c"} for key in TABLES}
    assert_whole(store, "c", 4)


def test_a_crash_in_the_first_publish_of_all_is_recovered_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "shop")
    (workspace.store / "items.lance" / "data").mkdir(parents=True)  # as Lance leaves it before its first version
    store = Store(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "PUBLISH_STEPS", PUBLISH_STEPS[:-1])
        store.publish(draft_of("a", 3, tmp_path), NOW)
    assert store.current_id() is None
    store.publish(draft_of("a", 4, tmp_path), NOW)
    assert_whole(store, "a", 4)


@in_one_folder
def test_readers_see_the_old_release_until_the_new_one_is_whole(
    store: Store, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_open = store.open()
    seen = []

    def look(publication: object) -> None:
        assert held_open.table("items").equals(tables_of(3)["items"])
        fresh = Store(workspace).open()
        seen.append((fresh.release_id, fresh.table("items").height))

    interleaved = [entry for step in PUBLISH_STEPS for entry in (step, ("look", look))]
    monkeypatch.setattr(store_module, "PUBLISH_STEPS", tuple(interleaved))
    store.publish(draft_of("b", 5, tmp_path), NOW)

    assert seen == [("a", 3)] * (len(PUBLISH_STEPS) - 1) + [("b", 5)]
    assert held_open.table("items").equals(tables_of(3)["items"])
