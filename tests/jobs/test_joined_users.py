"""Ids that were joined are of one shopper: in what models learn from, and in an erasure."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sources_contract import rows

from features.live.database import open_live_database
from features.live.event_log import EventLog, LoggedEvent
from features.live.user_merges import UserMerges
from features.workspace.merged_users import MergedUsers, add_merged_users, forget_merged_user, read_merged_users
from jobs.erase.run import erase
from jobs.ingest.event_log import ingest_log
from jobs.lake.lake import Lake
from jobs.lake.snapshot import read_shop
from recsys.config import IngestSettings, Settings
from recsys.errors import DataError
from recsys.workspace import Workspace

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """cookie-77 has bought a boot before the last nightly run; afterwards a coat, and then logs in as customer-5."""
    workspace = Workspace(tmp_path / "shop")
    workspace.root.mkdir()
    database = open_live_database(workspace, "")
    log = EventLog(database)
    log.append([LoggedEvent("e1", "cookie-77", "boot", "purchase", NOW), LoggedEvent("e2", "bo", "rug", "view", NOW)])
    ingest_log(workspace, log, IngestSettings(), NOW)
    log.append([LoggedEvent("e3", "cookie-77", "coat", "purchase", NOW)])
    assert UserMerges(database).merge(["cookie-77"], "customer-5", NOW) == ("customer-5", 2)
    ingest_log(workspace, log, IngestSettings(), NOW)
    add_merged_users(workspace.lake, UserMerges(database).all())
    database.close()
    return workspace


def test_what_a_joined_id_did_before_is_the_shoppers(workspace: Workspace) -> None:
    events = read_shop(Lake(workspace.lake), datetime(2027, 1, 1, tzinfo=UTC)).events
    bought = events.filter(events["user_id"] == "customer-5")["item_id"]
    assert sorted(bought) == ["boot", "coat"]
    assert "cookie-77" not in events["user_id"]


@pytest.mark.parametrize("user_id", ["customer-5", "cookie-77"])
def test_an_erasure_of_any_of_the_ids_erases_all(workspace: Workspace, user_id: str) -> None:
    erase(workspace, Settings(), user_id, NOW, lambda *_: None)
    assert rows(workspace, "events")["user_id"].to_list() == ["bo"]
    stored = b"".join(file.read_bytes() for file in workspace.root.rglob("*") if file.is_file())
    assert b"customer-5" not in stored
    assert b"cookie-77" not in stored


def test_chains_of_joined_ids_end_at_the_last(tmp_path: Path) -> None:
    add_merged_users(tmp_path, {"a": "b"})
    add_merged_users(tmp_path, {"b": "c"})
    assert read_merged_users(tmp_path).into == {"a": "c", "b": "c"}
    assert MergedUsers({"a": "c", "b": "c"}).group("a") == ["a", "b", "c"]
    assert MergedUsers().group("x") == ["x"]
    assert forget_merged_user(tmp_path, "c") == 2
    assert read_merged_users(tmp_path).into == {}


def test_a_damaged_list_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "user_merges.json").write_text("[")
    with pytest.raises(DataError, match=r"damaged list of joined user ids .* remove it"):
        read_merged_users(tmp_path)
