import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import polars as pl
import pytest

from features.store import store as store_module
from features.store.store import PUBLISH_STEPS, Manifest, ReleaseDraft, Store, _removal_age
from features.workspace.mirror import Mirror
from features.workspace.object_store import Bucket
from recsys.errors import StoreError
from recsys.workspace import Workspace

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
REPOSITORY = Path(__file__).parents[3]
TABLES = ("items", "users", "reviews")
DIM = 2
LONG = 12  # from 10 numbers on LanceDB takes a column for vectors whatever its name
HISTORY = pl.List(
    pl.Struct(
        {"item_id": pl.String, "event_type": pl.String, "weight": pl.Float32, "timestamp": pl.Datetime("us", "UTC")}
    )
)
SCHEMAS: dict[str, dict[str, Any]] = {
    "items": {
        "item_id": pl.String,
        "vector": pl.Array(pl.Float32, DIM),
        "is_cold": pl.Boolean,
        "price": pl.Float64,
        "department": pl.Enum(["garden", "kitchen"]),
        "text_hash": pl.String,
    },
    "users": {
        "user_id": pl.String,
        "vector": pl.Array(pl.Float32, DIM),
        "text_vector": pl.Array(pl.Float32, LONG),
        "history": HISTORY,
    },
    "reviews": {"review_id": pl.String, "vector": pl.Array(pl.Float32, DIM), "rating": pl.Float64},
}
NOT_FINITE = pl.Series([[1.0, float("nan")], None, [float("inf"), 1.0]], dtype=pl.Array(pl.Float32, DIM))


def tables_of(size: int) -> dict[str, pl.DataFrame]:
    """Tables of `size` items, two users (one without history) and one review; item i has the vector [i, size]."""
    view = {"item_id": "i0", "event_type": "view", "weight": 0.5, "timestamp": NOW - timedelta(microseconds=1)}
    rows = {
        "items": [
            (f"i{i}", [float(i), float(size)], i == 0, None if i == 0 else 9.5, "kitchen", "é" * 64)
            for i in range(size)
        ],
        "users": [("u0", [1.0, 0.0], [0.5] * LONG, [view, view]), ("u1", None, None, [])],
        "reviews": [("r0", [0.0, 1.0], 5.0)],
    }
    return {name: pl.DataFrame(rows[name], schema=SCHEMAS[name], orient="row") for name in TABLES}


def draft_of(release_id: str, size: int, staging: Path, tables: dict[str, pl.DataFrame] | None = None) -> ReleaseDraft:
    model_dir = staging / f"model-{release_id}"
    (model_dir / "deep").mkdir(parents=True, exist_ok=True)
    (model_dir / "linear.npz").write_bytes(b"weights of " + release_id.encode())
    (model_dir / "deep" / "whitening.npz").write_bytes(b"1234")
    return ReleaseDraft(
        release_id=release_id,
        as_of=NOW,
        tables=tables_of(size) if tables is None else tables,
        model_dir=model_dir,
        encoder_id="minilm",
        encoder_sha256="ab",
        config_sha256="cd",
        metrics={"all": {"recall@10": 0.125}},
    )


@pytest.fixture(scope="session")
def published_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("base")
    Store(Workspace(root / "shop")).publish(draft_of("a", 3, root), NOW)
    return root / "shop"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, published_a: Path, tmp_path: Path) -> Store:
    """A workspace of its own, where release `a` of 3 items is served: in a folder, or read on a machine that has
    everything from the bucket, while another machine writes."""
    if request.param == "folder":
        return Store(Workspace(Path(shutil.copytree(published_a, tmp_path / "shop"))))
    url = request.getfixturevalue("s3_url")
    writer, reader = (Mirror(Bucket(url, 30), tmp_path / name) for name in ("writer", "reader"))
    shutil.copytree(published_a, writer.root, dirs_exist_ok=True)
    writer.push()
    reader.pull()
    return BucketStore(writer, reader)


in_one_folder = pytest.mark.parametrize("store", ["folder"], indirect=True)
"""What is about a moment inside a write, or a lock, within one folder; of a bucket: test_mirror, test_bucket_lease."""


class BucketStore(Store):
    """Reads on one machine what writes on another."""

    def __init__(self, writer: Mirror, reader: Mirror) -> None:
        super().__init__(Workspace(reader.root))
        self._writer, self._reader = writer, reader

    @contextmanager
    def _elsewhere(self) -> Iterator[Store]:
        self._writer.pull()
        try:
            yield Store(Workspace(self._writer.root))
        finally:
            self._writer.push()
            self._reader.pull()

    def publish(self, draft: ReleaseDraft, now: datetime) -> Manifest:
        with self._elsewhere() as store:
            return store.publish(draft, now)

    def rollback(self, release_id: str, now: datetime) -> None:
        with self._elsewhere() as store:
            store.rollback(release_id, now)

    def collect(self, keep: int, now: datetime, also: Container[str] = ()) -> list[str]:
        with self._elsewhere() as store:
            return store.collect(keep, now, also)


@pytest.fixture
def workspace(store: Store) -> Workspace:
    """The workspace of `store`."""
    return store._workspace


def assert_whole(store: Store, release_id: str, size: int) -> None:
    release = store.open(release_id)
    for name, expected in tables_of(size).items():
        assert release.table(name).equals(expected)


def tags_of(workspace: Workspace) -> dict[str, set[str]]:
    database = lancedb.connect(str(workspace.store))
    return {name: set(database.open_table(name).tags.list()) for name in TABLES}


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# Reading and writing


def test_a_new_workspace_has_no_release_and_nothing_is_created(tmp_path: Path) -> None:
    store = Store(Workspace(tmp_path / "shop"))
    assert store.current_id() is None
    assert store.releases() == []
    with pytest.raises(StoreError, match=r"no release published yet; run `recsys nightly --workspace .*shop`"):
        store.open()
    assert not (tmp_path / "shop").exists()


def test_a_release_reads_back_with_its_types_and_in_its_order(store: Store) -> None:
    assert_whole(store, "a", 3)
    release = store.open()
    assert release.release_id == "a"
    for name in TABLES:
        assert dict(release.table(name).schema) == SCHEMAS[name]


def test_columns_come_in_the_order_asked_for(store: Store) -> None:
    release = store.open()
    assert release.table("items", ["price", "item_id"]).rows() == [(None, "i0"), (9.5, "i1"), (9.5, "i2")]
    with pytest.raises(StoreError, match="release a, table items: no column colour; it has item_id, vector"):
        release.table("items", ["colour"])


def test_vectors_come_as_one_array_and_a_null_vector_as_nan(store: Store) -> None:
    release = store.open()
    items = release.vectors("items", "vector")
    assert items.dtype == np.float32
    assert items.tolist() == [[0, 3], [1, 3], [2, 3]]
    np.testing.assert_array_equal(release.vectors("users", "vector"), [[1, 0], [np.nan, np.nan]])
    with pytest.raises(StoreError, match="column price holds Float64, not vectors"):
        release.vectors("items", "price")


def test_the_manifest_names_everything(store: Store, tmp_path: Path) -> None:
    manifest = store.publish(draft_of("b", 5, tmp_path), NOW + timedelta(hours=1))
    assert manifest == store.open().manifest
    assert manifest.parent == "a"
    assert manifest.rows == {"items": 5, "users": 2, "reviews": 1}
    assert manifest.files.keys() == {"model/linear.npz", "model/deep/whitening.npz"}
    assert manifest.created_at == NOW + timedelta(hours=1)
    assert manifest.metrics == {"all": {"recall@10": 0.125}}
    assert (store.open().model_dir / "linear.npz").read_bytes() == b"weights of b"
    assert [known.release_id for known in store.releases()] == ["a", "b"]


def test_publishing_the_same_rows_twice_doubles_none(store: Store, tmp_path: Path) -> None:
    store.publish(draft_of("b", 3, tmp_path), NOW)
    store.publish(draft_of("c", 3, tmp_path), NOW)
    for release_id in "abc":
        assert_whole(store, release_id, 3)


def test_a_release_without_rows_has_vectors_of_its_dimension(tmp_path: Path) -> None:
    store = Store(Workspace(tmp_path / "shop"))
    empty = {name: pl.DataFrame(schema=SCHEMAS[name]) for name in TABLES}
    store.publish(draft_of("a", 0, tmp_path, empty), NOW)
    release = store.open()
    for name in TABLES:
        assert release.table(name).equals(empty[name])
        assert dict(release.table(name).schema) == SCHEMAS[name]
        assert release.vectors(name, "vector").shape == (0, DIM)


def test_columns_may_change_between_releases(store: Store, tmp_path: Path) -> None:
    tables = tables_of(2)
    wider = pl.Series("vector", [[1.0, 2.0, 3.0]] * 2, dtype=pl.Array(pl.Float32, 3))
    tables["items"] = tables["items"].drop("price").with_columns(wider)
    store.publish(draft_of("b", 2, tmp_path, tables), NOW)
    assert store.open().vectors("items", "vector").shape == (2, 3)
    assert_whole(store, "a", 3)


def test_an_unknown_release_names_the_nearest(store: Store, tmp_path: Path) -> None:
    store.publish(draft_of("20261123T030000Z-3f9a1c", 2, tmp_path), NOW)
    with pytest.raises(StoreError, match="no release 20261123T030000Z-3f9a1d; nearest: 20261123T030000Z-3f9a1c"):
        store.open("20261123T030000Z-3f9a1d")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"items": t["items"].vstack(t["items"][1:2])}, "table items: 2 rows share their item_id .* i1"),
        (lambda t: t | {"users": t["users"].with_columns(user_id=pl.lit(None, pl.String))}, "2 rows without user_id"),
        (lambda t: t | {"reviews": t["reviews"].drop("review_id")}, "table reviews: no column review_id"),
        (lambda t: {"items": t["items"]}, "has tables items; pass items, users, reviews"),
        (lambda t: t | {"items": t["items"].with_columns(vector=NOT_FINITE)}, "2 values of vector are not finite"),
        (lambda t: t | {"items": t["items"].with_columns(encoder=pl.col("item_id"))}, "vectors of i0 and of i1"),
    ],
)
def test_a_draft_that_breaks_a_rule_changes_nothing(
    store: Store, workspace: Workspace, tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    before = bytes_below(workspace.root)
    with pytest.raises(StoreError, match=message):
        store.publish(draft_of("b", 3, tmp_path, change(tables_of(3))), NOW)
    assert bytes_below(workspace.root) == before
    assert_whole(store, "a", 3)


@pytest.mark.parametrize("release_id", ["", "../a", "a/b", ".hidden", "a b"])
def test_an_id_that_is_no_folder_name_is_refused(store: Store, tmp_path: Path, release_id: str) -> None:
    with pytest.raises(StoreError, match="use letters, digits"):
        store.publish(ReleaseDraft(**(vars(draft_of("b", 2, tmp_path)) | {"release_id": release_id})), NOW)


def test_a_published_id_is_never_published_again(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="release a: published already"):
        store.publish(draft_of("a", 5, tmp_path), NOW)
    assert_whole(store, "a", 3)


# Crashes

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


# Damage


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_model_file_is_named_on_opening(store: Store, workspace: Workspace, damage: str) -> None:
    path = workspace.releases / "a" / "model" / "linear.npz"
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "truncate":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    with pytest.raises(StoreError, match=r"releases/a/model/linear\.npz: (altered|missing)") as caught:
        store.open()
    assert "\n" not in str(caught.value)
    assert store.open(verify=False).release_id == "a"


def test_an_altered_manifest_is_refused_and_left_out_of_the_list(
    store: Store, workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.publish(draft_of("b", 5, tmp_path), NOW)
    path = workspace.releases / "a" / "manifest.json"
    path.write_text(path.read_text().replace("0.125", "0.925"))
    with pytest.raises(StoreError, match=r"releases/a/manifest\.json: altered"):
        store.open("a")
    with caplog.at_level(logging.WARNING):
        assert [known.release_id for known in store.releases()] == ["b"]
    assert "release unreadable release_id=a" in caplog.text


def test_a_table_that_lost_its_version_is_named(store: Store, workspace: Workspace) -> None:
    shutil.rmtree(workspace.store / "users.lance" / "_versions")
    with pytest.raises(StoreError, match="release a, table users: cannot be opened") as caught:
        store.open()
    assert "\n" not in str(caught.value)


def test_a_table_that_lost_its_data_is_named_on_reading(store: Store, workspace: Workspace) -> None:
    shutil.rmtree(workspace.store / "users.lance" / "data")
    with pytest.raises(StoreError, match="release a, table users: cannot be read"):
        store.open().table("users")


# Rollback, collection, lease


def test_rollback_serves_the_older_release_and_keeps_the_newer(store: Store, tmp_path: Path) -> None:
    store.publish(draft_of("b", 5, tmp_path), NOW)
    store.rollback("a", NOW)
    assert store.current_id() == "a"
    assert store.publish(draft_of("c", 4, tmp_path), NOW).parent == "a"
    store.rollback("b", NOW)
    assert store.current_id() == "b"
    assert_whole(store, "b", 5)


@in_one_folder
def test_rollback_to_a_damaged_or_unknown_release_changes_nothing(
    store: Store, workspace: Workspace, tmp_path: Path
) -> None:
    store.publish(draft_of("b", 5, tmp_path), NOW)
    (workspace.releases / "a" / "model" / "linear.npz").unlink()
    for release_id in ("a", "z"):
        with pytest.raises(StoreError):
            store.rollback(release_id, NOW)
        assert store.current_id() == "b"


def test_collection_removes_files_and_versions_and_frees_the_disk(
    store: Store, workspace: Workspace, tmp_path: Path
) -> None:
    for release_id in "bcd":
        store.publish(draft_of(release_id, 500, tmp_path), NOW)
    before = bytes_below(workspace.store)

    assert store.collect(1, NOW) == ["a", "b", "c"]

    assert bytes_below(workspace.store) < before / 2
    assert [folder.name for folder in workspace.releases.glob("*/")] == ["d"]
    assert tags_of(workspace) == {key: {"release-d"} for key in TABLES}
    assert_whole(store, "d", 500)
    with pytest.raises(StoreError, match="no release a; nearest: d"):
        store.open("a")
    assert store.collect(1, NOW) == []


def test_collection_keeps_the_newest_and_the_served_one(store: Store, workspace: Workspace, tmp_path: Path) -> None:
    for size, release_id in enumerate("bcde", start=4):
        store.publish(draft_of(release_id, size, tmp_path), NOW)
    store.rollback("b", NOW)

    assert store.collect(2, NOW) == ["a", "c"]

    assert store.current_id() == "b"
    for size, release_id in ((4, "b"), (6, "d"), (7, "e")):
        assert_whole(store, release_id, size)
    assert tags_of(workspace) == {key: {"release-b", "release-d", "release-e"} for key in TABLES}


def test_collection_keeps_what_is_also_asked_for(store: Store, tmp_path: Path) -> None:
    for release_id in "bcd":
        store.publish(draft_of(release_id, 5, tmp_path), NOW)

    assert store.collect(1, NOW, {"b", "z"}) == ["a", "c"]

    assert_whole(store, "b", 5)
    assert store.collect(1, NOW) == ["b"]


def test_a_collection_that_crashed_is_finished_by_the_next_writer(
    store: Store, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("power cut")

    store.publish(draft_of("b", 4, tmp_path), NOW)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_discard_all_but", fail)
        with pytest.raises(OSError, match="power cut"):
            store.collect(1, NOW)
    assert [known.release_id for known in store.releases()] == ["b"]
    assert_whole(store, "b", 4)

    store.publish(draft_of("c", 5, tmp_path), NOW)

    assert sorted(folder.name for folder in workspace.releases.glob("*/")) == ["b", "c"]
    assert tags_of(workspace) == {name: {"release-b", "release-c"} for name in TABLES}


def test_collection_keeps_at_least_one(store: Store) -> None:
    with pytest.raises(StoreError, match="cannot keep 0 releases"):
        store.collect(0, NOW)


def test_collecting_an_empty_workspace_removes_nothing(tmp_path: Path) -> None:
    assert Store(Workspace(tmp_path / "shop")).collect(3, NOW) == []


def test_versions_are_removed_from_midway_before_the_oldest_kept_one() -> None:
    times = {1: NOW, 2: NOW + timedelta(days=1), 3: NOW + timedelta(days=3), 4: NOW + timedelta(days=4)}
    now = NOW + timedelta(days=5)
    assert _removal_age(times, 3, now) == timedelta(days=3)  # midway: day 2
    assert _removal_age(times, 4, now) == timedelta(milliseconds=1)  # all but the latest
    assert _removal_age(times, 1, now) is None  # nothing is older
    assert _removal_age(times, 3, NOW) is None  # a clock before them all


@in_one_folder
def test_writers_wait_for_nobody_and_are_refused_while_another_writes(
    store: Store, workspace: Workspace, tmp_path: Path
) -> None:
    other = Store(workspace)
    with other.lease(NOW, minutes=10):
        for write in (
            lambda: store.publish(draft_of("b", 5, tmp_path), NOW),
            lambda: store.rollback("a", NOW),
            lambda: store.collect(1, NOW),
        ):
            with pytest.raises(StoreError, match=r"lease\.json: process \d+ on .* writes to this workspace"):
                write()
        assert_whole(store, "a", 3)  # reading needs no lease
        other.publish(draft_of("b", 5, tmp_path), NOW)  # the holder's own writes use its lease
        other.collect(1, NOW)
    store.publish(draft_of("c", 4, tmp_path), NOW)
    assert store.current_id() == "c"


@in_one_folder
def test_a_run_that_lost_its_lease_publishes_nothing(store: Store, workspace: Workspace, tmp_path: Path) -> None:
    with store.lease(NOW, minutes=10):
        workspace.lease.write_text("")  # as after a takeover on a file system that does not pass locks on
        with pytest.raises(StoreError, match="nothing changed"):
            store.publish(draft_of("b", 5, tmp_path), NOW)
    assert store.current_id() == "a"
