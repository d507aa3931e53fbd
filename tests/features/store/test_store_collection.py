"""Old releases are removed; the live one and the newest are not."""

from datetime import timedelta
from pathlib import Path

import pytest
from release_drafts import NOW, TABLES, assert_whole, bytes_below, draft_of, tags_of

from features.store import store as store_module
from features.store.store import Store, _removal_age
from recsys.errors import StoreError
from recsys.workspace import Workspace


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
