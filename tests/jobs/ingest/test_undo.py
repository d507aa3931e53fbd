"""Ingests that are taken back: the lake is then, byte by byte, what it was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import jobs.ingest.files
import jobs.ingest.offsets
import jobs.ingest.undo
import jobs.lake.lake
from features.live.database import open_live_database
from features.live.event_log import EventLog, LoggedEvent
from features.live.item_changes import ItemChange, ItemChanges
from features.workspace.lease import hold_lease
from jobs.erase.run import erase
from jobs.ingest.event_log import ingest_log
from jobs.ingest.files import IngestReport, ingest_new
from jobs.ingest.item_changes import ingest_items
from jobs.ingest.undo import take_again, undo
from jobs.lake.history import Change
from jobs.lake.lake import Lake
from jobs.lake.writer_lease import LEASE
from recsys.config import IngestSettings, Settings
from recsys.errors import DataError, StoreError
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SETTINGS = Settings()
WriteFile = Callable[[str, str], Path]
IngestTable = Callable[..., IngestReport]
EVENTS = "event_id,user_id,item_id,event_type,timestamp\n"
CATALOG = "item_id,title,price\n"


def rows(*events: str, day: int = 2) -> str:
    return EVENTS + "".join(f"{name},u,i,view,2024-01-{day:02}\n" for name in events)


def ids(workspace: Workspace) -> list[str]:
    return sorted(Lake(workspace.lake).scan("events").collect()["event_id"])


def files(workspace: Workspace) -> set[str]:
    """Every file of rows on the disk, live or kept."""
    return {str(path.relative_to(workspace.lake)) for path in workspace.lake.rglob("*.parquet")}


def undone(workspace: Workspace, *ids: int) -> list[Change]:
    return undo(workspace, ids, SETTINGS, NOW)


def listed(workspace: Workspace) -> list[int]:
    return [change.id for change in Lake(workspace.lake).history.changes]


def test_an_undone_file_is_not_taken_again_until_it_is_corrected(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    write_file("e1.csv", rows("a", day=2))
    ingest_table(events=workspace.root.parent / "e*.csv")
    before, digest = files(workspace), Lake(workspace.lake).digest()
    bad = write_file("e2.csv", rows("b", "c", day=2) + "d,u,i,view,2024-01-09\n")
    assert ingest_new(workspace, IngestSettings(), NOW) is not None
    assert ids(workspace) == ["a", "b", "c", "d"]
    assert before < files(workspace)  # what it replaced is kept

    (change,) = undone(workspace, 2)
    assert change.rows == {"events": (3, 0)}
    assert (ids(workspace), Lake(workspace.lake).digest(), files(workspace)) == (["a"], digest, before)
    assert listed(workspace) == [1]
    assert ingest_new(workspace, IngestSettings(), NOW) is None

    bad.write_text(rows("b", day=2))
    assert ingest_new(workspace, IngestSettings(), NOW) is not None
    assert (ids(workspace), listed(workspace)) == (["a", "b"], [1, 3])


def test_an_undone_ingest_can_be_repeated(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(events=write_file("e.csv", rows("a", "b")), catalog=write_file("c.csv", CATALOG + "i,kettle,3\n"))
    digest = Lake(workspace.lake).digest()
    undone(workspace, 1)
    assert not files(workspace)
    assert ingest_new(workspace, IngestSettings(), NOW) is None
    again = take_again(workspace, 1, SETTINGS, NOW)
    assert again is not None and again.id == 2
    assert Lake(workspace.lake).digest() == digest
    assert take_again(workspace, 1, SETTINGS, NOW) is None
    assert listed(workspace) == [2]
    with pytest.raises(DataError, match="ingest 2: not among the undone ingests"):
        take_again(workspace, 2, SETTINGS, NOW)


def test_only_the_file_of_that_ingest_is_taken_again_whatever_its_glob_finds_now(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    write_file("e1.csv", rows("a"))
    ingest_table(events=workspace.root.parent / "e*.csv")
    undone(workspace, 1)
    write_file("e2.csv", rows("b"))
    take_again(workspace, 1, SETTINGS, NOW)
    assert ids(workspace) == ["a"]
    assert ingest_new(workspace, IngestSettings(), NOW) is not None
    assert ids(workspace) == ["a", "b"]


def test_an_ingest_that_others_rest_on_is_undone_with_them_alone(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(events=write_file("1.csv", rows("a", day=2)))
    ingest_table(events=write_file("2.csv", rows("b", day=3)))
    ingest_table(events=write_file("3.csv", rows("a", "c", day=2)))
    before = Lake(workspace.lake).digest()
    with pytest.raises(
        DataError,
        match=r"^ingest 1: ingest 3 came later .* lake, events/day=2024-01-02; .* `recsys ingest undo 3 1`, .*"
        "`recsys ingest again 3`$",
    ):
        undone(workspace, 1)
    assert Lake(workspace.lake).digest() == before
    undone(workspace, 2)
    undone(workspace, 1, 3)
    assert (ids(workspace), listed(workspace)) == ([], [])
    take_again(workspace, 3, SETTINGS, NOW)
    assert ids(workspace) == ["a", "c"]


def test_rows_that_a_later_file_brought_as_well_are_not_lost(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(events=write_file("bad.csv", rows("a", "poison")))
    ingest_table(events=write_file("good.csv", rows("a")))  # known, so it changes nothing
    with pytest.raises(DataError, match="recsys ingest undo 2 1"):
        undone(workspace, 1)
    undone(workspace, 1, 2)
    take_again(workspace, 2, SETTINGS, NOW)
    assert ids(workspace) == ["a"]


def test_the_same_file_again_is_no_ingest_of_its_own(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(events=write_file("a.csv", rows("a")))
    ingest_table(events=write_file("renamed.csv", rows("a")))
    assert listed(workspace) == [1]
    undone(workspace, 1)
    assert ids(workspace) == []


@pytest.mark.parametrize(
    ("ids", "message"), [([7], r"not among the ingests of .* \(1\)"), ([1, 1], ""), ([2, 1], "already undone")]
)
def test_ids_that_cannot_be_undone_are_refused_and_nothing_changes(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable, ids: list[int], message: str
) -> None:
    for number in (1, 2):
        ingest_table(events=write_file(f"{number}.csv", rows(f"e{number}", day=number)))
    undone(workspace, 2)
    before = Lake(workspace.lake).digest()
    if not message:  # twice the same is that one
        assert [change.id for change in undone(workspace, *ids)] == [1]
        return
    with pytest.raises(DataError, match=message):
        undone(workspace, *ids)
    assert Lake(workspace.lake).digest() == before


def test_of_many_ingests_the_last_can_be_undone_and_old_files_go(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    for number in range(5):
        ingest_table(settings=IngestSettings(undo_history=2), events=write_file(f"{number}.csv", rows(f"e{number}")))
    assert listed(workspace) == [4, 5]
    assert len(files(workspace)) == 3
    undone(workspace, 5, 4)
    assert ids(workspace) == ["e0", "e1", "e2"]
    ingest_table(settings=IngestSettings(undo_history=0), events=write_file("last.csv", rows("last")))
    assert (listed(workspace), len(files(workspace))) == ([], 1)
    ingest_table(events=write_file("new.csv", rows("new")))
    assert listed(workspace) == [6]


def test_a_damaged_kept_file_is_named_and_nothing_undone(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(events=write_file("1.csv", rows("a")))
    (file,) = workspace.lake.rglob("*.parquet")
    ingest_table(events=write_file("2.csv", rows("b")))
    file.write_bytes(b"rotten")
    with pytest.raises(DataError, match=rf"{file.name}: needed for the undo, but missing or damaged"):
        undone(workspace, 2)
    assert ids(workspace) == ["a", "b"]


def test_nothing_is_undone_while_a_run_or_an_ingest_writes(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(events=write_file("1.csv", rows("a")))
    for lease in (workspace.lease, workspace.lake / LEASE):
        with hold_lease(lease, NOW, 1), pytest.raises(StoreError, match="writes to this workspace"):
            undone(workspace, 1)
    assert ids(workspace) == ["a"]


def die(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_undo_that_is_killed_before_or_after_its_commit_is_whole_or_nothing(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_table(events=write_file("1.csv", rows("a")))
    ingest_table(events=write_file("2.csv", rows("b")))
    with monkeypatch.context() as patch:
        patch.setattr(jobs.lake.lake, "write_atomically", die)
        with pytest.raises(KeyboardInterrupt):
            undone(workspace, 2)
    assert (ids(workspace), listed(workspace)) == (["a", "b"], [1, 2])
    with monkeypatch.context() as patch:
        patch.setattr(jobs.lake.lake, "_delete_unlisted", die)
        with pytest.raises(KeyboardInterrupt):
            undone(workspace, 2)
    assert (ids(workspace), listed(workspace), len(files(workspace))) == (["a"], [1], 2)
    ingest_table(events=write_file("3.csv", rows("c", day=5)))
    assert len(files(workspace)) == 2  # the leftover is gone, and there is the new one


def test_a_file_whose_ingest_was_killed_before_it_was_noted_is_not_taken_again_after_the_undo(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file("e1.csv", rows("a"))
    ingest_table(events=workspace.root.parent / "e*.csv")
    write_file("e2.csv", rows("b"))
    with monkeypatch.context() as patch:
        patch.setattr(jobs.ingest.files, "add_seen", die)
        with pytest.raises(KeyboardInterrupt):
            ingest_new(workspace, IngestSettings(), NOW)
    assert ids(workspace) == ["a", "b"]
    undone(workspace, 2)
    assert ingest_new(workspace, IngestSettings(), NOW) is None
    assert ids(workspace) == ["a"]


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """With a live database in its folder."""
    workspace.root.mkdir(parents=True, exist_ok=True)
    return workspace


def store(workspace: Workspace, *events: str, day: int = 1) -> None:
    database = open_live_database(workspace, "")
    at = datetime(2024, 5, day, tzinfo=UTC)
    EventLog(database).append([LoggedEvent(name, "ann", "boot", "view", at) for name in events])
    database.close()


def night(workspace: Workspace) -> int:
    """New events that the run took."""
    database = open_live_database(workspace, "")
    try:
        ingest_items(workspace, ItemChanges(database), IngestSettings(), NOW)
        return ingest_log(workspace, EventLog(database), IngestSettings(), NOW).events.n_new
    finally:
        database.close()


def test_a_range_of_the_event_log_is_taken_back_skipped_and_taken_again(shop: Workspace) -> None:
    store(shop, "a", "b", day=1)
    assert night(shop) == 2
    store(shop, "p1", "p2", day=1)
    assert night(shop) == 2
    (change,) = undone(shop, 2)
    assert (change.source["after"], change.source["up_to"]) == (2, 4)
    assert ids(shop) == ["a", "b"]
    store(shop, "c", day=2)
    assert night(shop) == 1
    assert ids(shop) == ["a", "b", "c"]
    take_again(shop, 2, SETTINGS, NOW)
    assert ids(shop) == ["a", "b", "c", "p1", "p2"]
    assert night(shop) == 0


def test_a_run_killed_before_its_offset_does_not_repeat_undone_events(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(shop, "a", "b")
    with monkeypatch.context() as patch:
        patch.setattr(jobs.ingest.offsets.OffsetFile, "write", die)
        with pytest.raises(KeyboardInterrupt):
            night(shop)
    undone(shop, 1)
    assert (night(shop), ids(shop)) == (0, [])


def test_events_of_another_database_cannot_be_taken_again(shop: Workspace) -> None:
    store(shop, "a")
    night(shop)
    undone(shop, 1)
    for path in (shop.root / "live").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="ingest 1: read from another live database"):
        take_again(shop, 1, SETTINGS, NOW)
    store(shop, "b")
    with pytest.raises(DataError, match="ingest 1: read from another live database"):
        take_again(shop, 1, SETTINGS, NOW)


def test_changed_prices_are_taken_back_and_again(
    shop: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    def prices() -> list[float]:
        return Lake(shop.lake).scan("catalog").sort("item_id").collect()["price"].to_list()

    ingest_table(catalog=write_file("c.csv", CATALOG + "i,kettle,3\nj,lamp,4\n"))
    database = open_live_database(shop, "")
    ItemChanges(database).put([ItemChange("i", {"price": 300.0})], NOW)
    database.close()
    night(shop)
    assert prices() == [300.0, 4.0]
    with pytest.raises(DataError, match="same part of the lake, catalog; undo both with `recsys ingest undo 2 1`"):
        undone(shop, 1)
    undone(shop, 2)
    night(shop)
    assert prices() == [3.0, 4.0]
    take_again(shop, 2, SETTINGS, NOW)
    assert prices() == [300.0, 4.0]


def test_an_erasure_removes_the_shopper_from_files_for_undo_and_ends_undo(
    shop: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    header = "review_id,user_id,item_id,rating,text,timestamp\n"
    ingest_table(reviews=write_file("r1.csv", header + "r1,shopper-1,i,4,a quiet little kettle,2024-01-02\n"))
    ingest_table(reviews=write_file("r2.csv", header + "r2,shopper-2,i,4,fine,2024-01-03\n"))
    assert len(files(shop)) == 2
    receipt, _ = erase(shop, SETTINGS, "shopper-1", NOW + timedelta(hours=1), lambda *_: None)
    assert receipt.known
    assert Lake(shop.lake).scan("reviews").select(pl.col("user_id")).collect()["user_id"].to_list() == ["shopper-2"]
    assert len(files(shop)) == 1
    with pytest.raises(DataError, match="until a shopper is erased"):
        undone(shop, 2)
