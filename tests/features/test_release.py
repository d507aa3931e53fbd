"""Loading a release; that it answers as the night measured is in tests/test_parity.py."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import PublishedShop

from features.release import SETTINGS_FILE, load_release
from features.store import Store
from recsys.errors import StoreError
from recsys.recommend import Query
from recsys.workspace import Workspace


@pytest.fixture
def copied(published_shop: PublishedShop, tmp_path: Path) -> Workspace:
    """The published shop's store and releases, to be damaged."""
    workspace = Workspace(tmp_path / "shop")
    for part in ("store", "releases"):
        shutil.copytree(published_shop.workspace.root / part, workspace.root / part)
    return workspace


def test_a_release_comes_with_its_shoppers_titles_and_encoder(published_shop: PublishedShop) -> None:
    loaded = load_release(published_shop.workspace)
    assert loaded.release_id == published_shop.report.release_id
    assert loaded.recommender.n_items == 80
    assert loaded.encoder == published_shop.settings.encoder
    (slate,) = loaded.recommender.recommend([Query(user_id=next(iter(loaded.recommender.users.rows)))])
    assert all(item.title for item in slate.items)


def test_settings_of_another_version_do_not_stop_a_rollback(copied: Workspace, monkeypatch) -> None:
    file = copied.releases / load_release(copied).release_id / "model" / SETTINGS_FILE
    changed = json.loads(file.read_text()) | {"gone": {"since": "then"}}
    file.write_text(json.dumps(changed))
    opened = Store(copied).open(verify=False)
    monkeypatch.setattr(Store, "open", lambda *_: opened)
    assert load_release(copied).recommender.n_items == 80


def test_an_altered_model_file_is_refused_by_name(copied: Workspace) -> None:
    file = copied.releases / load_release(copied).release_id / "model" / "trend.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"trend\.npy"):
        load_release(copied)


def test_a_workspace_without_a_release_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="run `recsys nightly"):
        load_release(Workspace(tmp_path))
