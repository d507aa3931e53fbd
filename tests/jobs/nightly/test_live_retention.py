"""What the live database gives up: only what the lake has and nothing else may need."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

import jobs.nightly.live_retention
from features.live.database import open_live_database
from features.live.event_log import EventLog, LoggedEvent
from features.live.item_changes import ItemChange, ItemChanges
from features.store.manifest import LivePosition
from jobs.erase.run import erase
from jobs.ingest.event_log import ingest_log
from jobs.ingest.files import IngestReport
from jobs.ingest.item_changes import ingest_items
from jobs.ingest.undo import take_again, undo
from jobs.lake.lake import Lake
from jobs.nightly.live_retention import give_up
from recsys.config import IngestSettings, Settings
from recsys.errors import StoreError
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=40)
NO_UNDO = Settings.model_validate({"ingest": {"undo_history": 0}})
IngestTable = Callable[..., IngestReport]
WriteFile = Callable[[str, str], Path]


@pytest.fixture
def log(workspace: Workspace) -> Iterator[EventLog]:
    database = open_live_database(workspace, "")
    yield EventLog(database)
    database.close()


def view(event_id: str, at: datetime = OLD, user_id: str = "ann") -> LoggedEvent:
    return LoggedEvent(event_id, user_id, "boot", "view", at)


def live_ids(log: EventLog) -> list[str]:
    return log.batch(0, 1_000, 1_000)[0]["event_id"].to_list()


def lake_ids(workspace: Workspace) -> list[str]:
    return sorted(Lake(workspace.lake).scan("events").collect()["event_id"])


def night(workspace: Workspace, log: EventLog, settings: Settings = NO_UNDO, now: datetime = NOW) -> LivePosition:
    return ingest_log(workspace, log, settings.ingest, now).position


def published(monkeypatch: pytest.MonkeyPatch, *positions: LivePosition, as_of: datetime = NOW) -> None:
    """The workspace has a release for each position."""
    manifests = [SimpleNamespace(log_offset=position, as_of=as_of) for position in positions]
    monkeypatch.setattr(jobs.nightly.live_retention.Store, "releases", lambda _: manifests)


def test_what_the_lake_has_leaves_after_the_days(workspace: Workspace, log: EventLog) -> None:
    log.append([view("e1"), view("e2", NOW - timedelta(days=29)), view("e3", NOW - timedelta(days=31))])
    night(workspace, log)
    assert give_up(workspace, log.database, NO_UNDO, NOW) == 2
    assert live_ids(log) == ["e2"]
    assert lake_ids(workspace) == ["e1", "e2", "e3"]


def test_what_the_lake_has_not_read_stays_however_old(workspace: Workspace, log: EventLog) -> None:
    log.append([view("e1")])
    assert give_up(workspace, log.database, NO_UNDO, NOW) == 0
    night(workspace, log)
    log.append([view("unread")])
    assert give_up(workspace, log.database, NO_UNDO, NOW) == 1
    assert live_ids(log) == ["unread"]
    night(workspace, log)
    assert lake_ids(workspace) == ["e1", "unread"]


def test_what_a_release_does_not_include_stays(
    workspace: Workspace, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([view("e1")])
    first = night(workspace, log)
    log.append([view("e2")])
    second = night(workspace, log)
    published(monkeypatch, first, second)
    assert give_up(workspace, log.database, NO_UNDO, NOW) == 1
    assert live_ids(log) == ["e2"]
    published(monkeypatch, second, as_of=OLD)  # lists read what happened since
    assert give_up(workspace, log.database, NO_UNDO, NOW) == 0
    published(monkeypatch, LivePosition("another database", 1_000, 1_000))
    assert give_up(workspace, log.database, NO_UNDO, NOW) == 0
    published(monkeypatch, second)
    assert give_up(workspace, log.database, NO_UNDO, NOW) == 1


def test_an_ingest_can_be_undone_and_repeated_after_it(workspace: Workspace, log: EventLog) -> None:
    settings = Settings.model_validate({"ingest": {"undo_history": 2}})
    for name in ("e1", "e2", "e3"):
        log.append([view(name)])
        night(workspace, log, settings)
        give_up(workspace, log.database, settings, NOW)
    assert live_ids(log) == ["e2", "e3"]
    undo(workspace, [2, 3], settings, NOW)
    assert give_up(workspace, log.database, settings, NOW) == 0
    assert lake_ids(workspace) == ["e1"]
    for change_id in (2, 3):
        take_again(workspace, change_id, settings, NOW)
    assert lake_ids(workspace) == ["e1", "e2", "e3"]


def test_a_run_after_all_events_have_left_goes_on_behind_them(workspace: Workspace, log: EventLog) -> None:
    log.append([view("e1"), view("e2")])
    first = night(workspace, log)
    assert give_up(workspace, log.database, NO_UNDO, NOW) == 2
    assert night(workspace, log) == first
    log.append([view("e3")])
    assert night(workspace, log).event_seq > first.event_seq
    assert lake_ids(workspace) == ["e1", "e2", "e3"]


def test_an_event_that_is_sent_again_after_it_has_left_counts_once(workspace: Workspace, log: EventLog) -> None:
    log.append([view("e1")])
    night(workspace, log)
    give_up(workspace, log.database, NO_UNDO, NOW)
    log.append([view("e1")])
    night(workspace, log)
    assert lake_ids(workspace) == ["e1"]


def test_a_shopper_is_erased_after_their_events_have_left(workspace: Workspace, log: EventLog) -> None:
    log.append([view("e1"), view("e2", user_id="bob")])
    night(workspace, log)
    give_up(workspace, log.database, NO_UNDO, NOW)
    log.append([view("e3", NOW)])
    erase(workspace, NO_UNDO, "ann", NOW, lambda *_: None)
    assert lake_ids(workspace) == ["e2"]
    assert live_ids(log) == []


def test_item_changes_leave_once_the_catalogue_and_every_release_have_them(
    workspace: Workspace,
    log: EventLog,
    ingest_table: IngestTable,
    write_file: WriteFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ingest_table(catalog=write_file("catalog.csv", "item_id,title,price\nboot,Boot,10\ncoat,Coat,20\n"))
    changes = ItemChanges(log.database)
    changes.put([ItemChange("boot", {"price": 11.0})], OLD)
    assert changes.after(0)["item_id"].to_list() == ["boot"]
    give_up(workspace, log.database, NO_UNDO, NOW)
    assert changes.after(0)["item_id"].to_list() == ["boot"]
    _, version = ingest_items(workspace, changes, IngestSettings(undo_history=0), NOW)
    published(monkeypatch, LivePosition(log.database.id, 0, version - 1))
    give_up(workspace, log.database, NO_UNDO, NOW)
    assert changes.after(0)["item_id"].to_list() == ["boot"]
    published(monkeypatch, LivePosition(log.database.id, 0, version))
    give_up(workspace, log.database, NO_UNDO, NOW)
    assert changes.after(0).is_empty()
    changes.put([ItemChange("boot", {"title": "Warm boot"})], NOW)
    ingest_items(workspace, changes, IngestSettings(undo_history=0), NOW)
    row = Lake(workspace.lake).scan("catalog").collect().row(by_predicate=pl.col("item_id") == "boot", named=True)
    assert (row["title"], row["price"]) == ("Warm boot", 11.0)


def test_a_database_that_cannot_be_written_ends_no_night(
    workspace: Workspace, log: EventLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise StoreError("live.sqlite: the live database cannot be written (disk full)")

    night(workspace, log)
    monkeypatch.setattr(EventLog, "prune", fail)
    assert give_up(workspace, log.database, NO_UNDO, NOW) == 0
    assert "live_database_not_pruned" in caplog.text
