import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.live.answer_log import Answer, AnswerLog, Exposure
from features.live.database import METADATA, LiveDatabase, open_live_database
from features.live.erasure_queue import OF_USERS, QUEUE, ErasureQueue, erase_rows, rows_of
from features.live.event_log import EventLog, LoggedEvent
from features.store.manifest import BEGINNING
from recsys.errors import StoreError
from recsys.workspace import Workspace

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECRET = "a wish that only one shopper has"


@pytest.fixture
def queue(live_database: LiveDatabase) -> ErasureQueue:
    """Ann and Bea have two events, a list and an exposure each."""
    log, answers = EventLog(live_database), AnswerLog(live_database)
    for name in ("ann-of-the-shop", "bea-of-the-shop"):
        log.append(
            [
                LoggedEvent(f"{name}-1", name, "boot", "view", NOW),
                LoggedEvent(f"{name}-2", name, None, "search", NOW, text=f"{SECRET} {name}"),
            ]
        )
        content = json.dumps({"request": {"text": SECRET, "session": [{"text": "read"}]}})
        answers.record([Answer(name, NOW, name, "r1", frozenset(), content)], [Exposure(name, NOW, name, "x", "a")])
    return ErasureQueue(live_database)


def test_the_queue_knows_every_table_that_has_shoppers() -> None:
    assert {table.name for table in (*OF_USERS, QUEUE)} == {
        table.name for table in METADATA.sorted_tables if "user_id" in table.c
    }


def test_who_is_queued_leaves_the_database_at_once_and_others_stay(queue: ErasureQueue) -> None:
    request = queue.add("ann-of-the-shop", "q1", NOW)
    assert (request.user_id, request.request_id, request.requested_at, request.n_rows) == (
        "ann-of-the-shop",
        "q1",
        NOW,
        4,
    )
    assert queue.waiting() == [request]
    log = EventLog(queue.database)
    assert log.recent("ann-of-the-shop", 0, NOW - timedelta(days=1), 10) == []
    assert len(log.recent("bea-of-the-shop", 0, NOW - timedelta(days=1), 10)) == 2
    assert AnswerLog(queue.database).find("ann-of-the-shop") is None
    assert AnswerLog(queue.database).find("bea-of-the-shop") is not None


def test_asked_again_the_request_stays_and_what_came_meanwhile_goes(queue: ErasureQueue) -> None:
    queue.add("ann-of-the-shop", "q1", NOW)
    EventLog(queue.database).append([LoggedEvent("late", "ann-of-the-shop", "boot", "view", NOW)])
    again = queue.add("ann-of-the-shop", "q2", NOW + timedelta(hours=1))
    assert (again.request_id, again.requested_at, again.n_rows) == ("q1", NOW, 5)
    assert rows_of(queue.database, "ann-of-the-shop") == 1


def test_the_first_who_asked_is_the_first(queue: ErasureQueue) -> None:
    for hours, name in ((2, "cat"), (1, "dan")):
        queue.add(name, name, NOW + timedelta(hours=hours))
    assert [request.user_id for request in queue.waiting()] == ["dan", "cat"]


def test_erased_rows_are_counted_by_table_and_the_queue_is_left_last(queue: ErasureQueue) -> None:
    queue.add("bea-of-the-shop", "q1", NOW)
    removed = erase_rows(queue.database, "ann-of-the-shop")
    assert removed == {"events": 2, "answers": 1, "exposures": 1, "user_merges": 0}
    assert rows_of(queue.database, "ann-of-the-shop") == 0
    assert rows_of(queue.database, "bea-of-the-shop") == 1
    for _ in range(2):
        queue.done("bea-of-the-shop")
    assert queue.waiting() == []


def test_no_byte_of_an_erased_shopper_stays_in_sqlite_while_others_use_it(tmp_path: Path, queue: ErasureQueue) -> None:
    if not queue.database.exists or "postgres" in queue.database.shown:
        pytest.skip("PostgreSQL keeps its files where this product does not look")
    folder = Workspace(tmp_path / "live-shop").live_database.parent

    def content() -> bytes:
        return b"".join(path.read_bytes() for path in folder.iterdir())

    assert b"ann-of-the-shop" in content()
    other = open_live_database(Workspace(tmp_path / "live-shop"), "")
    assert EventLog(other).newest() == 4  # a replica that keeps its connections
    queue.add("ann-of-the-shop", "q1", NOW)
    erase_rows(queue.database, "ann-of-the-shop")
    queue.done("ann-of-the-shop")
    assert b"ann-of-the-shop" not in content()
    assert content().count(b"bea-of-the-shop") >= 4
    assert len(EventLog(other).recent("bea-of-the-shop", BEGINNING.event_seq, NOW - timedelta(days=1), 10)) == 2
    other.close()


def test_a_log_that_stays_in_use_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.live.database.WAL_PAUSE_S", 0.0)
    monkeypatch.setattr("features.live.database.BUSY_TIMEOUT_S", 0.1)
    database = open_live_database(Workspace(tmp_path), "")
    EventLog(database).append([LoggedEvent("e1", "ann", "boot", "view", NOW)])
    reader = open_live_database(Workspace(tmp_path), "")
    with reader.settled() as connection:  # reads on from one state of the database
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("SELECT * FROM events").all()
        EventLog(database).append([LoggedEvent("e2", "bea", "boot", "view", NOW)])
        with pytest.raises(StoreError, match="stays in its log while others read it"):
            database.scrub()
    for opened in (reader, database):
        opened.close()


def test_nobody_waits_where_there_is_no_database_and_none_is_made(tmp_path: Path) -> None:
    database = open_live_database(Workspace(tmp_path), "")
    assert ErasureQueue(database).waiting() == []
    assert rows_of(database, "ann") == 0
    assert not database.exists
