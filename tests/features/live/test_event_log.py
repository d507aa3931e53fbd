import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

import features.live.event_log
from features.live.database import LiveDatabase
from features.live.event_log import EVENTS, EventLog, LoggedEvent, RecentEvent
from recsys.tables import Events

NOON = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def log(live_database: LiveDatabase) -> Iterator[EventLog]:
    yield EventLog(live_database)


def view(event_id: str, item_id: str = "boot", user_id: str = "ann", at: datetime = NOON) -> LoggedEvent:
    return LoggedEvent(event_id, user_id, item_id, "view", at)


def recent_items(log: EventLog, after: int = 0, since: datetime = MIDNIGHT, limit: int = 10) -> list[str | None]:
    return [event.item_id for event in log.recent("ann", after, since, limit)]


def test_an_event_comes_back_as_it_was_stored(log: EventLog) -> None:
    search = LoggedEvent("e1", "ann", None, "search", NOON, "s", "søk ☂", 1.5, "r", 3)
    log.append([search])
    rows, numbers = log.batch(0, log.newest(), 10)
    assert rows.to_dicts() == [{name: getattr(search, name) for name in Events.column_names()}]
    assert rows.schema == pl.Schema({name: column.dtype for name, column in Events.columns().items()})
    assert numbers.to_list() == [log.newest()]
    assert log.recent("ann", 0, MIDNIGHT, 10) == [RecentEvent(None, "search", NOON, "søk ☂", 1.5)]


def test_an_event_that_is_stored_changes_nothing(log: EventLog) -> None:
    assert log.append([view("e1"), view("e1"), view("e2", "rug")]) == {}
    assert log.append([view("e1", at=NOON + timedelta(hours=1)), view("e3", "coat")]) == {}
    assert log.batch(0, log.newest(), 10)[0]["event_id"].to_list() == ["e1", "e2", "e3"]


def test_an_event_of_another_content_under_a_known_id_gets_an_id_of_its_own(log: EventLog) -> None:
    renamed = log.append([view("e1"), view("e1", "coat")])
    assert list(renamed) == [1]
    assert renamed[1].startswith("e1#")
    assert log.append([view("e2", "lamp"), view("e1", "coat"), view("e1", "rug")]).keys() == {1, 2}
    assert set(recent_items(log)) == {"boot", "coat", "lamp", "rug"}


def test_recent_events_are_the_shoppers_own_by_time_without_impressions(log: EventLog) -> None:
    later = view("e1", "coat", at=NOON + timedelta(seconds=1))
    shown = replace(view("e3", "rug"), event_type="impression")
    log.append([later, view("e2", "boot"), shown, view("e4", "lamp", user_id="bob")])
    assert recent_items(log) == ["boot", "coat"]
    assert log.recent("nobody", 0, MIDNIGHT, 10) == []


def test_a_release_holds_what_was_stored_before_it_and_happened_before_it(log: EventLog) -> None:
    """The first is in the release. The second was stored in time but happened later, the third the other way round."""
    log.append([view("e1", "boot", at=MIDNIGHT), view("e2", "coat", at=NOON + timedelta(hours=1))])
    read_up_to = log.newest()
    log.append([view("e3", "lamp", at=MIDNIGHT)])
    assert recent_items(log, after=read_up_to, since=NOON) == ["lamp", "coat"]


def test_of_many_events_the_last_stored_are_read(log: EventLog) -> None:
    log.append([view(f"e{n}", f"i{n}", at=NOON + timedelta(seconds=n)) for n in range(50)])
    assert recent_items(log, limit=2) == ["i48", "i49"]


def test_recent_events_are_found_by_an_index(log: EventLog) -> None:
    log.append([view("e1")])
    with log.database.read() as connection:
        if connection.dialect.name != "sqlite":
            pytest.skip("PostgreSQL reads a table of one row without its index")
        condition = "user_id = ? AND event_type <> 'impression' ORDER BY seq DESC"
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN SELECT * FROM events WHERE {condition}", ("ann",))
        assert [row[3] for row in plan] == ["SEARCH events USING INDEX events_of_user (user_id=?)"]


def test_events_of_one_type_are_read_from_a_moment_on(log: EventLog) -> None:
    bought = replace(view("e1"), event_type="purchase")
    log.append([bought, view("e2"), replace(bought, event_id="e3", timestamp=MIDNIGHT)])
    assert log.of_type("purchase", NOON).to_dicts() == [{"event_id": "e1", "user_id": "ann", "timestamp": NOON}]
    assert log.of_type("cart", NOON).schema == log.of_type("purchase", NOON).schema


def test_batches_read_the_whole_log_once_in_order(log: EventLog) -> None:
    log.append([view(f"e{n}") for n in range(7)])
    newest, after, batches = log.newest(), 0, []
    while True:
        rows, numbers = log.batch(after, newest, 3)
        if rows.is_empty():
            break
        batches += rows["event_id"].to_list()
        after = int(numbers[-1])
    assert batches == [f"e{n}" for n in range(7)]


def test_an_event_of_an_unknown_type_is_read_with_none(log: EventLog) -> None:
    log.append([replace(view("e1"), event_type="teleport")])
    assert log.batch(0, log.newest(), 1)[0]["event_type"].to_list() == [None]


def test_newest_waits_for_a_transaction_that_has_taken_its_number(log: EventLog) -> None:
    """Without that a reader would go past the number of a row that appears only later."""
    newest: list[int] = []
    reader = threading.Thread(target=lambda: newest.append(log.newest()))
    with log.database.write() as connection:
        if connection.dialect.name == "sqlite":
            pytest.skip("SQLite has one writer at a time")
        row = {"event_id": "e1", "user_id": "u", "item_id": "i", "event_type": "view", "timestamp_us": 0}
        connection.execute(sa.insert(EVENTS).values(row))
        reader.start()
        assert not newest
    reader.join()
    assert newest == [1]


def test_sqlite_stores_new_events_without_a_look_at_the_stored_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(LiveDatabase(sa.URL.create("sqlite", database=str(tmp_path / "live.sqlite"))))
    monkeypatch.setattr(features.live.event_log, "_renamed", lambda *_: pytest.fail("looked up"))
    assert log.append([view(f"e{number}") for number in range(3)]) == {}
