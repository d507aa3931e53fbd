"""Erasing a shopper who is known by an e-mail address."""

from datetime import UTC, datetime
from pathlib import Path

from sources_contract import rows, spec_of, take

from features.live.database import open_live_database
from features.live.erasure_queue import ErasureQueue
from features.live.event_log import EventLog, LoggedEvent
from features.workspace.erased_users import add_erased
from features.workspace.user_ids import UserIds
from jobs.__main__ import main
from jobs.erase.run import erase, erase_queued
from jobs.ingest.event_log import ingest_log
from jobs.ingest.sources.spec import SourceOptions
from recsys.config import IngestSettings, Settings
from recsys.workspace import Workspace

NOW = datetime(2026, 12, 1, tzinfo=UTC)
ORDERS = (
    "email,item_id,event_type,timestamp\n"
    "Ada@Example.com,i1,purchase,2026-03-01\nada@example.com,i2,purchase,2026-03-02\nbo@example.com,i1,view,2026-03-02\n"
)


def test_an_address_erases_what_is_stored_under_its_pseudonym_for_good(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    take(workspace, spec_of(tmp_path / "files", {"orders.csv": ORDERS}))
    ada = UserIds.of(workspace).pseudonym("ada@example.com")
    assert rows(workspace, "events")["user_id"].to_list().count(ada) == 2
    receipt, path = erase(workspace, Settings(), "ADA@example.com", NOW, lambda *_: None)
    assert rows(workspace, "events")["user_id"].to_list() == [UserIds.of(workspace).pseudonym("bo@example.com")]
    assert receipt.places["lake"].removed["events"] == 2
    report = take(workspace, spec_of(tmp_path / "again", {"orders.csv": ORDERS}))
    assert (report.tables[0].n_erased, report.tables[0].n_new) == (2, 0)
    stored = b"".join(file.read_bytes() for file in workspace.root.rglob("*") if file.is_file()).lower()
    assert b"example.com" not in stored and ada.encode() not in stored
    assert "example" not in path.read_text().lower()


def test_an_address_that_was_erased_before_any_was_hashed_stays_out(tmp_path: Path) -> None:
    for number, given in enumerate(("ADA@example.com", "ada@example.com")):
        workspace = Workspace(tmp_path / f"shop{number}")
        workspace.root.mkdir()
        if number:
            add_erased(workspace, given, NOW)  # as before this workspace hashed addresses
        else:
            erase(workspace, Settings(), given, NOW, lambda *_: None)
        report = take(workspace, spec_of(tmp_path / "files", {"orders.csv": ORDERS}))
        assert (report.tables[0].n_erased, report.tables[0].n_new) == (2, 1)


def test_an_address_that_was_queued_before_any_was_hashed_is_erased(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    workspace.root.mkdir()
    database = open_live_database(workspace, "")
    ErasureQueue(database).add("ada@example.com", "q1", NOW)
    database.close()
    take(workspace, spec_of(tmp_path / "files", {"orders.csv": ORDERS}))
    receipts = [receipt for receipt, _ in erase_queued(workspace, Settings(), NOW, lambda *_: None)]
    assert [(receipt.request_id, receipt.known) for receipt in receipts] == [("q1", False), ("q1", True)]
    assert rows(workspace, "events").height == 1


def test_addresses_that_stay_user_ids_can_be_erased(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    options = SourceOptions(keep_user_ids=True)
    take(workspace, spec_of(tmp_path / "files", {"orders.csv": ORDERS}, options))
    receipt, _ = erase(workspace, Settings(), "bo@example.com", NOW, lambda *_: None)
    assert receipt.known and receipt.places["lake"].removed["events"] == 1


def test_an_address_is_readmitted_with_its_pseudonym(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    take(workspace, spec_of(tmp_path / "files", {"orders.csv": ORDERS}))
    erase(workspace, Settings(), "bo@example.com", NOW, lambda *_: None)
    assert main(["erase", "--readmit", "bo@example.com", "--workspace", str(workspace.root)]) == 0
    assert take(workspace, spec_of(tmp_path / "again", {"orders.csv": ORDERS})).tables[0].n_new == 1


def test_the_log_keeps_no_event_of_an_erased_address_and_the_lake_no_address_in_a_text(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    take(workspace, spec_of(tmp_path / "files", {"orders.csv": ORDERS}))
    erase(workspace, Settings(), "ada@example.com", NOW, lambda *_: None)
    log = EventLog(open_live_database(workspace, ""))
    shoppers = ("ada@example.com", "bo@example.com")  # a replica that did not know yet that addresses are hashed
    log.append([LoggedEvent(f"e-{name}", name, None, "search", NOW, text=f"mail {name}") for name in shoppers])
    report = ingest_log(workspace, log, IngestSettings(), NOW)
    assert (report.events.n_erased, report.events.n_new) == (1, 1)
    assert not log.texts_of("ada@example.com")
    assert rows(workspace, "events")["text"].drop_nulls().to_list() == ["mail [email]"]
