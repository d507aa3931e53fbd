"""Damaged files of a published release are named in the error."""

import logging
import shutil
from pathlib import Path

import pytest
from release_drafts import NOW, draft_of

from features.store.store import Store
from recsys.errors import StoreError
from recsys.workspace import Workspace


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
