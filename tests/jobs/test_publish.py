import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from features.store import Store
from jobs.publish import Made, publish
from recsys.config import Settings
from recsys.workspace import Workspace

NOW = datetime(2025, 6, 2, tzinfo=UTC)


class PublishedShop(Protocol):
    workspace: Workspace
    settings: Settings
    made: Made


def test_a_night_keeps_the_releases_that_experiments_are_served_from(
    published_shop: PublishedShop, tmp_path: Path
) -> None:
    place = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, place.root)
    store = Store(place)
    first = store.current_id()

    def night(day: int, experiments: dict[str, object]) -> list[str]:
        changed = {"releases": {"keep": 1}, "experiments": experiments}
        settings = Settings.model_validate(published_shop.settings.model_dump() | changed)
        publish(store, place, published_shop.made, settings, NOW + timedelta(days=day))
        return [manifest.release_id for manifest in store.releases()]

    second = night(1, {"mix": {"arms": {"now": {}, "then": {"release": first}}}})
    assert second == [first, store.current_id()]
    assert night(2, {}) == [store.current_id()]
