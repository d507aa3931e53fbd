import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import polars as pl
import pytest

from features.store.manifest import new_release_id
from features.store.release import load_release
from features.store.store import Store
from features.workspace.location import NIGHT, reading, working
from jobs.nightly.publish import TrainedRelease, publish
from recsys.config import Settings
from recsys.errors import StoreError
from recsys.release_files import ALIASES_FILE
from recsys.workspace import Workspace

NOW = datetime(2025, 6, 2, tzinfo=UTC)


class PublishedShop(Protocol):
    workspace: Workspace
    settings: Settings
    trained: TrainedRelease


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, published_shop: PublishedShop, tmp_path: Path) -> str:
    """A copy of the published shop, as a person passes it."""
    if request.param == "folder":
        return str(shutil.copytree(published_shop.workspace.root, tmp_path / "shop"))
    url: str = request.getfixturevalue("s3_url")
    with working(url, NIGHT, lambda: NOW) as workspace:
        shutil.copytree(published_shop.workspace.root, workspace.root, dirs_exist_ok=True)
    return url


def releases(place: str) -> list[str]:
    """The ids of what is published, and last the served one again."""
    with reading(place) as workspace:
        store = Store(workspace)
        return [*(manifest.release_id for manifest in store.releases()), store.open().release_id]


def test_a_run_keeps_the_releases_that_experiments_are_served_from(published_shop: PublishedShop, place: str) -> None:
    first, _ = releases(place)

    def night(day: int, experiments: dict[str, object]) -> list[str]:
        changed = {"releases": {"keep": 1}, "experiments": experiments}
        settings = Settings.model_validate(published_shop.settings.model_dump() | changed)
        with working(place, NIGHT, lambda: NOW) as workspace:
            trained, now = published_shop.trained, NOW + timedelta(days=day)
            release_id = new_release_id(trained.as_of, now, settings.digest())
            publish(Store(workspace), workspace, release_id, trained, settings, now)
        return releases(place)

    release_ids, second, served = night(1, {"mix": {"arms": {"now": {}, "then": {"release": first}}}})
    assert (release_ids, second) == (first, served)
    third, served = night(2, {})
    assert third == served
    assert third not in (first, second)


def test_a_release_carries_the_aliases_of_its_items_where_there_are_any(
    published_shop: PublishedShop, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, workspace.root)
    assert load_release(workspace).aliases == {}
    trained, settings = published_shop.trained, published_shop.settings
    item_id = trained.shop.items["item_id"][0]
    aliases = pl.DataFrame({"alias": ["SKU-1", "SKU-2"], "item_id": [item_id, "not in this release"]})
    trained = replace(trained, shop=replace(trained.shop, aliases=aliases))
    release_id = new_release_id(trained.as_of, NOW, settings.digest())
    publish(Store(workspace), workspace, release_id, trained, settings, NOW)
    release = load_release(workspace)
    assert release.aliases == {"SKU-1": item_id}
    assert [release.item_id_of(name) for name in ("SKU-1", item_id, "SKU-2")] == [item_id, item_id, "SKU-2"]
    (Store(workspace).open(release_id).model_dir / ALIASES_FILE).write_bytes(b"no")
    with pytest.raises(StoreError, match=ALIASES_FILE):
        load_release(workspace)
