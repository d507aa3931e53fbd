import itertools
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest

import features.live.database
import jobs.ingest.offsets
from features.live.database import LiveDatabase, open_live_database
from features.live.event_log import EventLog, LoggedEvent
from features.store.manifest import LivePosition
from jobs.ingest.event_log import LogReport, ingest_log
from jobs.ingest.files import TableReport
from jobs.ingest.offsets import EVENTS_READ
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.errors import DataError, StoreError
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def log(live_database: LiveDatabase) -> EventLog:
    return EventLog(live_database)


def event(event_id: str, hours_before: float = 1, **changes: object) -> LoggedEvent:
    plain = LoggedEvent(event_id, "ann", "boot", "view", NOW - timedelta(hours=hours_before))
    return replace(plain, **changes)  # type: ignore[arg-type]


def night(workspace: Workspace, log: EventLog, settings: IngestSettings | None = None) -> LogReport:
    return ingest_log(workspace, log, settings or IngestSettings(), NOW)


def lake_ids(workspace: Workspace) -> list[str]:
    return Lake(workspace.lake).scan("events").sort("timestamp", "event_id").collect()["event_id"].to_list()


def test_each_run_takes_new_events_of_the_log(workspace: Workspace, log: EventLog) -> None:
    log.append([event("e1", 30), event("e2")])
    assert night(workspace, log) == LogReport(
        TableReport("events", 2, 2, 0, 0, 0, {}), LivePosition(log.database.id, log.newest())
    )
    assert [file.partition for file in Lake(workspace.lake).files] == ["day=2024-05-30", "day=2024-05-31"]
    log.append([event("e2"), event("e3", 40)])
    assert night(workspace, log).events == TableReport("events", 1, 1, 0, 0, 0, {})
    assert night(workspace, log).events == TableReport("events", 0, 0, 0, 0, 0, {})
    assert lake_ids(workspace) == ["e3", "e1", "e2"]


def test_batches_of_two_give_the_lake_of_one(tmp_path: Path, log: EventLog) -> None:
    log.append([event(f"e{n}", n * 7 % 50, text="søk" if n % 2 else None, value=n / 3) for n in range(9)])
    digests = set()
    for batch_rows in (2, 1000):
        workspace = Workspace(tmp_path / str(batch_rows))
        assert night(workspace, log, IngestSettings(batch_rows=batch_rows)).events.n_new == 9
        digests.add(Lake(workspace.lake).digest())
    assert len(digests) == 1


def test_bad_rows_are_quarantined_and_the_rest_is_taken(workspace: Workspace, log: EventLog) -> None:
    """Most rows are bad here, as where another program writes to the log, and the run goes on all the same."""
    log.append(
        [
            event("e1"),
            event("e2", event_type="teleport"),
            event("e3", event_type="rating", value=9),
            event("e4", -99),
        ]
    )
    report = night(workspace, log).events
    assert (report.n_read, report.n_new, report.n_bad) == (4, 1, 3)
    assert report.reasons == {"event_type|nullability": 1, "rating_is_1_to_5": 1, "timestamp_in_future": 1}
    (file,) = (workspace.quarantine / "events").iterdir()
    bad = pl.read_parquet(file)
    assert bad["row"].to_list() == [2, 3, 4]
    assert "e2" in bad["data"][0]
    assert lake_ids(workspace) == ["e1"]


def test_a_run_that_dies_after_its_commit_reads_the_same_again_and_changes_nothing(
    workspace: Workspace, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([event("e1"), event("e2", event_type="teleport")])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(jobs.ingest.offsets.OffsetFile, "write", die)
        with pytest.raises(KeyboardInterrupt):
            night(workspace, log)
    before = Lake(workspace.lake).digest()
    assert night(workspace, log).events == TableReport("events", 2, 0, 0, 1, 1, {"event_type|nullability": 1})
    assert Lake(workspace.lake).digest() == before
    assert len(list(workspace.quarantine.rglob("*.parquet"))) == 1


def test_a_run_that_dies_before_its_commit_has_read_nothing(
    workspace: Workspace, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([event("e1")])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            night(workspace, log)
    assert not Lake(workspace.lake).files
    assert night(workspace, log).events.n_new == 1


def test_another_log_is_read_from_its_beginning(workspace: Workspace, log: EventLog, tmp_path: Path) -> None:
    log.append([event("e1"), event("e2")])
    night(workspace, log)
    other = open_live_database(Workspace(tmp_path / "other"), "")
    EventLog(other).append([event("e9")])
    assert night(workspace, EventLog(other)).events.n_new == 1
    other.close()


def test_a_damaged_position_is_named_with_the_remedy(workspace: Workspace, log: EventLog) -> None:
    workspace.lake.mkdir(parents=True)
    (workspace.lake / EVENTS_READ.file.name).write_text("{}")
    with pytest.raises(DataError, match=f"{EVENTS_READ.file.name}: damaged .* remove it"):
        night(workspace, log)


def test_a_log_that_cannot_be_read_stops_the_run(workspace: Workspace, tmp_path: Path) -> None:
    unreachable = EventLog(open_live_database(Workspace(tmp_path), "postgresql://shop@127.0.0.1:9/shop"))
    with pytest.raises(StoreError, match="see that it runs"):
        night(workspace, unreachable)


@pytest.mark.parametrize("live_url", ["postgresql"], indirect=True)
def test_a_server_that_restarts_while_a_run_reads_loses_no_event(
    workspace: Workspace, log: EventLog, postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([event(f"e{n}", n + 1) for n in range(6)])
    batch, n_read = log.batch, itertools.count()

    def batch_and_restart(after: int, up_to: int, most: int) -> tuple[pl.DataFrame, pl.Series]:
        if next(n_read) == 1:
            restart(postgres_server)
        return batch(after, up_to, most)

    monkeypatch.setattr(log, "batch", batch_and_restart)
    assert night(workspace, log, IngestSettings(batch_rows=2)).events.n_new == 6
    assert len(lake_ids(workspace)) == 6


@pytest.mark.parametrize("live_url", ["postgresql"], indirect=True)
def test_a_server_that_recovers_while_a_run_reads_is_asked_again(
    workspace: Workspace, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([event(f"e{n}", n + 1) for n in range(6)])
    batch, n_read = log.batch, itertools.count()

    def batch_or_none(after: int, up_to: int, most: int) -> tuple[pl.DataFrame, pl.Series]:
        if next(n_read) in (1, 2):
            raise StoreError("the database system is in recovery mode")
        return batch(after, up_to, most)

    monkeypatch.setattr(log, "batch", batch_or_none)
    monkeypatch.setattr(features.live.database, "RESTART_PAUSE_S", 0.0)
    assert night(workspace, log, IngestSettings(batch_rows=2)).events.n_new == 6
    assert next(n_read) == 5


@pytest.mark.parametrize("live_url", ["postgresql"], indirect=True)
def test_a_server_that_stays_away_stops_the_run_and_takes_nothing(
    workspace: Workspace, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([event("e1")])

    def none(*_: object) -> None:
        raise StoreError("the database system is shutting down")

    monkeypatch.setattr(log, "batch", none)
    monkeypatch.setattr(features.live.database, "RESTART_PATIENCE_S", 0.0)
    with pytest.raises(StoreError, match="shutting down"):
        night(workspace, log)
    assert not Lake(workspace.lake).files


def restart(server: str) -> None:
    """Return when it lets in again: where one of its processes is killed, PostgreSQL ends all of them and recovers."""
    with psycopg.connect(server, autocommit=True) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(server).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
