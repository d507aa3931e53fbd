import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from features.live.database import LiveDatabase
from features.live.item_changes import ItemChange, ItemChanges, with_changes

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def changes(live_database: LiveDatabase) -> ItemChanges:
    return ItemChanges(live_database)


def test_versions_count_up_from_nothing(changes: ItemChanges) -> None:
    assert changes.version() == 0
    assert [changes.put([ItemChange("boot", {"price": 1.0})], NOON) for _ in range(3)] == [1, 2, 3]
    assert changes.version() == 3


def test_fields_that_are_left_out_stay_and_the_last_state_is_read(changes: ItemChanges) -> None:
    changes.put([ItemChange("boot", {"title": "Boot", "price": 9.5}), ItemChange("coat", {"available": True})], NOON)
    changes.put([ItemChange("boot", {"price": 8.0, "attributes": '{"a": 1}'})], NOON)
    rows = {row["item_id"]: row for row in changes.after(0).to_dicts()}
    nothing = dict.fromkeys(("description", "category", "brand", "available", "attributes", "title", "price")) | {
        "cleared": []
    }
    assert rows == {
        "boot": nothing
        | {"item_id": "boot", "version": 2, "deleted": False, "updated_at": NOON}
        | {"title": "Boot", "price": 8.0, "attributes": '{"a": 1}'},
        "coat": nothing | {"item_id": "coat", "version": 1, "deleted": False, "updated_at": NOON, "available": True},
    }
    assert changes.after(1)["item_id"].to_list() == ["boot"]


def test_what_is_deleted_or_unavailable_is_gone_until_it_is_put_back(changes: ItemChanges) -> None:
    changes.put([ItemChange("boot", {"available": False}), ItemChange("coat", {"price": 1.0})], NOON)
    changes.put([ItemChange("lamp", {"available": False}, deleted=True)], NOON)
    assert changes.unavailable_ids(0) == {"boot", "lamp"}
    assert changes.unavailable_ids(1) == {"lamp"}
    changes.put([ItemChange("lamp", {"available": True}), ItemChange("boot", {"price": 2.0})], NOON)
    assert changes.unavailable_ids(0) == {"boot"}


def test_several_changes_of_an_item_add_up_in_their_order(changes: ItemChanges) -> None:
    several = [
        ItemChange("boot", {"title": "Boot", "price": 1.0}),
        ItemChange("coat", {"price": 2.0}),
        ItemChange("boot", {"available": False}, deleted=True),
        ItemChange("boot", {"price": 3.0}),
        ItemChange("lamp", {"available": False}, deleted=True),
    ]
    assert changes.put(several, NOON) == 1
    stored = changes.after(0).select("item_id", "title", "price", "available", "deleted").rows()
    assert stored == [
        ("boot", "Boot", 3.0, False, False),
        ("coat", None, 2.0, None, False),
        ("lamp", None, None, False, True),
    ]


def test_writers_at_once_have_a_version_each(changes: ItemChanges) -> None:
    versions: list[int] = []

    def write(name: str) -> None:
        versions.extend(changes.put([ItemChange(name, {"price": 1.0})], NOON) for _ in range(10))

    threads = [threading.Thread(target=write, args=(f"i{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == list(range(1, 41))


def test_only_the_fields_that_changed_since_a_version_are_read(changes: ItemChanges) -> None:
    changes.put([ItemChange("boot", {"price": 9.5, "available": False})], NOON)
    changes.put([ItemChange("boot", {"title": "Boot"})], NOON)
    assert changes.after(1).select("title", "price", "available").rows() == [("Boot", None, None)]
    assert changes.after(0, up_to=1).select("title", "price", "available").rows() == [(None, 9.5, False)]
    assert changes.after(0, up_to=0).is_empty()
    assert changes.unavailable_ids(1) == frozenset()


def test_a_field_can_be_cleared_and_set_again(changes: ItemChanges) -> None:
    items = pl.DataFrame({"item_id": ["boot", "coat"], "brand": ["Ridge", "Ridge"], "price": [1.0, 2.0]})
    changes.put([ItemChange("boot", {"brand": None, "price": 3.0})], NOON)
    changed = changes.after(0)
    assert changed["cleared"].to_list() == [["brand"]]
    assert with_changes(items, changed).rows() == [("boot", None, 3.0), ("coat", "Ridge", 2.0)]
    changes.put([ItemChange("boot", {"brand": "Peak"})], NOON)
    assert with_changes(items, changes.after(0)).rows()[0] == ("boot", "Peak", 3.0)
    assert with_changes(items, changes.after(1)).rows()[0] == ("boot", "Peak", 1.0)


def test_changes_of_an_earlier_version_of_the_product_are_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "live.sqlite"
    columns = "item_id TEXT PRIMARY KEY, version BIGINT, deleted BOOLEAN, updated_at_us BIGINT, title TEXT, "
    columns += "description TEXT, category TEXT, brand TEXT, price DOUBLE, available BOOLEAN, attributes TEXT"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE item_changes ({columns})")
        row = "'boot', 4, 0, 0, 'Boot', NULL, NULL, NULL, 9.5, 0, NULL"
        connection.execute(f"INSERT INTO item_changes VALUES ({row})")
        connection.execute("CREATE TABLE item_counter (one INTEGER PRIMARY KEY, version BIGINT)")
        connection.execute("INSERT INTO item_counter VALUES (1, 4)")
        connection.commit()
    changes = ItemChanges(LiveDatabase(sa.URL.create("sqlite", database=str(path))))
    assert changes.after(3).select("title", "price", "available", "cleared").rows() == [("Boot", 9.5, False, [])]
    assert changes.unavailable_ids(3) == {"boot"}
    assert changes.put([ItemChange("boot", {"price": 8.0})], NOON) == 5
    assert changes.after(4).select("title", "price").rows() == [("Boot", 8.0)]  # the version of the title is unknown
