from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import jobs.ingest.offsets
from features.live.database import LiveDatabase
from features.live.item_changes import ItemChange, ItemChanges
from jobs.ingest.item_changes import ingest_items
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CATALOG = "item_id,title,price,brand,updated_at\nboot,Boot,9.5,Ridge,2024-01-01\ncoat,Coat,20,,2024-05-31T12:00:00Z\n"


@pytest.fixture
def changes(live_database: LiveDatabase) -> ItemChanges:
    return ItemChanges(live_database)


def change(changes: ItemChanges, item_id: str, hours_before: float = 1, **fields: Any) -> int:
    return changes.put([ItemChange(item_id, fields)], NOW - timedelta(hours=hours_before))


def night(workspace: Workspace, changes: ItemChanges) -> tuple[int, int]:
    return ingest_items(workspace, changes, IngestSettings(), NOW)


def catalog(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in Lake(workspace.lake).scan("catalog").collect().to_dicts()}


def test_what_a_change_leaves_out_stays_and_new_products_come(
    workspace: Workspace, write_file, ingest_table, changes: ItemChanges
) -> None:
    ingest_table(catalog=write_file("c.csv", CATALOG))
    change(changes, "boot", price=8.0, available=False)
    change(changes, "lamp", title="Lamp", price=3.0)
    assert night(workspace, changes) == (2, 2)
    rows = catalog(workspace)
    boot, lamp = rows["boot"], rows["lamp"]
    assert (boot["title"], boot["brand"], boot["price"], boot["available"]) == ("Boot", "Ridge", 8.0, False)
    assert boot["updated_at"] == NOW - timedelta(hours=1)
    assert (lamp["title"], lamp["price"], lamp["available"]) == ("Lamp", 3.0, True)
    assert rows["coat"]["price"] == 20.0
    assert night(workspace, changes) == (0, 2)


def test_a_change_wins_over_an_earlier_file_whatever_that_is_dated(
    workspace: Workspace, write_file, ingest_table, changes: ItemChanges
) -> None:
    ingest_table(catalog=write_file("c.csv", CATALOG))
    change(changes, "coat", hours_before=24, price=1.0)
    assert night(workspace, changes) == (1, 1)
    assert catalog(workspace)["coat"]["price"] == 1.0


def test_a_run_that_dies_after_its_commit_reads_the_same_again(
    workspace: Workspace, write_file, ingest_table, changes: ItemChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_table(catalog=write_file("c.csv", CATALOG))
    change(changes, "boot", price=8.0)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(jobs.ingest.offsets.OffsetFile, "write", die)
        with pytest.raises(KeyboardInterrupt):
            night(workspace, changes)
    before = Lake(workspace.lake).digest()
    assert night(workspace, changes) == (0, 1)
    assert Lake(workspace.lake).digest() == before


def test_a_shop_without_a_catalogue_goes_on_without_one(workspace: Workspace, changes: ItemChanges) -> None:
    change(changes, "boot", price=8.0)
    assert night(workspace, changes) == (0, 0)
    assert not Lake(workspace.lake).files
