"""Releases are published, read back, rolled back to, and written by one writer at a time."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from release_drafts import DIM, NOW, SCHEMAS, TABLES, assert_whole, bytes_below, draft_of, in_one_folder, tables_of

from features.store.store import ReleaseDraft, Store
from recsys.errors import StoreError
from recsys.workspace import Workspace

NOT_FINITE = pl.Series([[1.0, float("nan")], None, [float("inf"), 1.0]], dtype=pl.Array(pl.Float32, DIM))


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
