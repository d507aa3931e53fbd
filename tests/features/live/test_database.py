import threading
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from features.live.database import LiveDatabase, open_live_database
from features.live.event_log import EventLog
from features.live.item_changes import ItemChange, ItemChanges
from recsys.errors import ConfigError, StoreError
from recsys.workspace import Workspace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_opening_makes_nothing_and_the_first_use_makes_the_tables(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    database = open_live_database(workspace, "")
    assert not database.exists
    assert EventLog(database).newest() == 0
    assert database.exists
    assert workspace.live_database.is_file()
    database.close()


def test_a_database_keeps_its_name_and_another_has_another(
    tmp_path: Path, live_database: LiveDatabase, live_url: str
) -> None:
    again = open_live_database(Workspace(tmp_path / "live-shop"), live_url)
    other = open_live_database(Workspace(tmp_path / "other"), "")
    assert live_database.id == again.id != other.id
    for database in (again, other):
        database.close()


def test_two_processes_may_make_the_tables_at_once(tmp_path: Path, live_url: str) -> None:
    databases = [open_live_database(Workspace(tmp_path), live_url) for _ in range(8)]
    names: list[str] = []
    threads = [threading.Thread(target=lambda opened=opened: names.append(opened.id)) for opened in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 8 and len(set(names)) == 1
    for database in databases:
        database.close()


@pytest.mark.parametrize("url", ["mysql://u@host/shop", "sqlite:///x.db", "not a url"])
def test_another_kind_of_url_is_refused_with_an_example(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.events_url: .* postgresql://user:password@host/name"):
        open_live_database(Workspace(tmp_path), url)


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    database = open_live_database(Workspace(tmp_path), "postgresql://shop:secret@127.0.0.1:9/shop")
    with pytest.raises(StoreError, match="see that it runs") as raised:
        EventLog(database).newest()
    assert "shop:***@127.0.0.1:9/shop" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "live").write_text("a file in its place")
    with pytest.raises(StoreError, match=r"live\.sqlite: the live database cannot be made .*disk and permissions"):
        EventLog(open_live_database(Workspace(tmp_path), "")).newest()


def test_rows_see_every_commit_from_any_thread(live_database: LiveDatabase) -> None:
    changes = ItemChanges(live_database)
    seen: list[int] = []
    for _ in range(3):
        changes.put([ItemChange("kettle", {"price": 9.0})], NOON)
        thread = threading.Thread(target=lambda: seen.append(changes.version()))
        thread.start()
        thread.join()
    assert seen == [1, 2, 3]


def test_a_read_that_fails_is_told_and_the_next_one_is_answered(live_database: LiveDatabase) -> None:
    nowhere = sa.select(sa.column("what")).select_from(sa.table("nowhere"))
    changes = ItemChanges(live_database)
    for _ in range(3):
        with pytest.raises(StoreError, match=r"the live database cannot be read \(.*nowhere.*\)"):
            live_database.rows(nowhere)
        assert changes.version() == 0


def test_a_connection_that_the_server_has_closed_is_replaced(live_database: LiveDatabase, live_url: str) -> None:
    changes = ItemChanges(live_database)
    assert changes.version() == 0
    if live_url:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        with psycopg.connect(live_url, autocommit=True) as connection:
            connection.execute(f"{others} AND usename = current_user".encode())
    assert changes.version() == 0
