import threading
from datetime import UTC, datetime

import pytest

from features.live.database import LiveDatabase
from features.live.item_changes import ItemChange, ItemChanges

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
    nothing = dict.fromkeys(("description", "category", "brand", "available", "attributes", "title", "price"))
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
