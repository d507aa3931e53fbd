"""Old rows leave the live database, and their space goes back to the disk, while others read and write."""

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import features.live.database
import features.live.event_log
import features.live.item_changes
from features.live.database import LiveDatabase, open_live_database
from features.live.event_log import EventLog, LoggedEvent
from features.live.item_changes import ItemChange, ItemChanges
from recsys.workspace import Workspace

NOW = datetime(2026, 1, 31, tzinfo=UTC)
OLD = NOW - timedelta(days=40)
CUTOFF = NOW - timedelta(days=30)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (features.live.event_log, features.live.item_changes):
        monkeypatch.setattr(module, "PRUNED_AT_ONCE", 2)


def search(event_id: str, at: datetime = OLD, text: str = "boots") -> LoggedEvent:
    return LoggedEvent(event_id, "ann", None, "search", at, text=text)


def event_ids(log: EventLog) -> list[str]:
    return log.batch(0, 1_000_000, 1_000_000)[0]["event_id"].to_list()


def test_only_events_that_are_old_and_below_the_number_leave(live_database: LiveDatabase) -> None:
    log = EventLog(live_database)
    log.append([search("e1"), search("e2", NOW), *(search(f"e{n}") for n in range(3, 8))])
    up_to = log.newest()
    log.append([search("late")])
    assert log.prune(up_to, CUTOFF) == 6
    assert event_ids(log) == ["e2", "late"]
    assert log.prune(up_to, CUTOFF) == 0


def test_a_number_is_never_given_twice(live_database: LiveDatabase) -> None:
    log = EventLog(live_database)
    log.append([search("e1"), search("e2")])
    up_to = log.newest()
    log.prune(up_to, CUTOFF)
    assert event_ids(log) == []
    log.append([search("e3")])
    assert log.newest() > up_to


def test_an_event_that_is_sent_again_is_known_as_long_as_it_stays(live_database: LiveDatabase) -> None:
    log = EventLog(live_database)
    log.append([search("old"), search("new", NOW)])
    log.prune(log.newest(), CUTOFF)
    log.append([search("new", NOW)])
    assert event_ids(log) == ["new"]


def test_only_item_changes_that_are_old_and_below_the_version_leave(live_database: LiveDatabase) -> None:
    changes = ItemChanges(live_database)
    for item_id in ("boot", "coat", "lamp"):
        changes.put([ItemChange(item_id, {"price": 1.0})], OLD)
    changes.put([ItemChange("rug", {"price": 1.0})], NOW)
    version = changes.put([ItemChange("boot", {"price": 2.0})], NOW)
    changes.put([ItemChange("vase", {"available": False})], OLD)
    assert changes.prune(version, CUTOFF) == 2
    assert sorted(changes.after(0)["item_id"]) == ["boot", "rug", "vase"]
    assert changes.put([ItemChange("coat", {"price": 3.0})], NOW) == version + 2


@pytest.mark.parametrize("live_url", ["sqlite"], indirect=True)
def test_the_space_of_deleted_rows_goes_back_to_the_disk(
    live_database: LiveDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features.live.event_log, "PRUNED_AT_ONCE", 2_000)
    log = EventLog(live_database)
    log.append([search(f"e{n}", text="boots " * 100) for n in range(4_000)])
    path = Path(live_database.shown)
    live_database.give_back()
    before = path.stat().st_size
    assert before > 2_000_000
    log.prune(log.newest(), CUTOFF)
    given_back = live_database.give_back()
    assert path.stat().st_size == before - given_back < 200_000


@pytest.mark.parametrize("live_url", ["sqlite"], indirect=True)
def test_events_are_stored_while_old_ones_leave(live_database: LiveDatabase, live_url: str, tmp_path: Path) -> None:
    log = EventLog(live_database)
    log.append([search(f"e{n}") for n in range(200)])
    up_to = log.newest()
    service = open_live_database(Workspace(tmp_path / "live-shop"), live_url)
    stored = threading.Thread(target=lambda: [EventLog(service).append([search(f"n{n}", NOW)]) for n in range(50)])
    stored.start()
    assert log.prune(up_to, CUTOFF) == 200
    live_database.give_back()
    stored.join()
    assert sorted(event_ids(log)) == sorted(f"n{n}" for n in range(50))
    service.close()


@pytest.mark.parametrize("live_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("rewritten_up_to", "shrinks"), [(2**30, True), (0, False)])
def test_a_database_of_an_earlier_version_is_rewritten_where_that_is_quick(
    live_database: LiveDatabase, rewritten_up_to: int, shrinks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features.live.database, "REWRITE_BYTES", rewritten_up_to)
    monkeypatch.setattr(features.live.event_log, "PRUNED_AT_ONCE", 2_000)
    log = EventLog(live_database)
    log.append([search(f"e{n}", text="boots " * 100) for n in range(1_000)])
    live_database.close()
    with closing(sqlite3.connect(live_database.shown)) as connection:
        connection.execute("PRAGMA auto_vacuum=NONE")
        connection.execute("VACUUM")
    log.prune(log.newest(), CUTOFF)
    assert (live_database.give_back() > 0) == shrinks
    log.append([search("e1")])
    assert event_ids(log) == ["e1"]


@pytest.mark.parametrize("live_url", ["postgresql"], indirect=True)
def test_postgresql_uses_the_space_again_by_itself(live_database: LiveDatabase) -> None:
    log = EventLog(live_database)
    log.append([search("e1")])
    assert log.prune(log.newest(), CUTOFF) == 1
    assert live_database.give_back() == 0
