from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.live.database import open_live_database
from features.live.erasure_queue import ErasureQueue
from features.workspace.erased_users import read_erased
from jobs.__main__ import main
from jobs.ingest.files import IngestReport
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def shop(
    workspace: Workspace, ingest_table: Callable[..., IngestReport], write_file: Callable[[str, str], Path]
) -> list[str]:
    """`--workspace` of a shop with two shoppers."""
    rows = "event_id,user_id,item_id,event_type,timestamp\n"
    rows += "".join(f"e-{name},{name},boot,view,2024-05-01T00:00:00Z\n" for name in ("ann-1842", "bea-1907"))
    ingest_table(events=write_file("events.csv", rows))
    return ["--workspace", str(workspace.root)]


def receipt_of(workspace: Workspace) -> str:
    (path,) = workspace.erasures.glob("*Z-*.json")
    return str(path)


def test_a_shopper_is_erased_and_the_receipt_can_be_checked(
    workspace: Workspace, shop: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["erase", "ann-1842", *shop]) == 0
    output = capsys.readouterr().out
    assert "lake" in output and "no matches" in output
    assert "1 source files still contain this user, e.g. " in output
    assert "ann-1842" not in output
    assert main(["erase", "--verify", receipt_of(workspace), *shop]) == 0
    assert capsys.readouterr().out == output
    Path(receipt_of(workspace)).write_text(Path(receipt_of(workspace)).read_text().replace('"events":1', '"events":0'))
    Path(receipt_of(workspace)).write_text(
        Path(receipt_of(workspace)).read_text().replace('"events": 1', '"events": 0')
    )
    assert main(["erase", "--verify", receipt_of(workspace), *shop]) == 2
    assert "the signature does not hold" in capsys.readouterr().err


def test_an_unknown_shopper_is_reported(shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["erase", "nobody-at-all", *shop]) == 0
    assert "No data of this user was stored. New data of this user will be rejected." in capsys.readouterr().out


def test_queued_users_are_erased(workspace: Workspace, shop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["erase", "--queued", *shop]) == 0
    assert capsys.readouterr().out == "No pending erasure requests.\n"
    database = open_live_database(workspace, "")
    ErasureQueue(database).add("bea-1907", "q1", NOW)
    database.close()
    assert main(["erase", "--queued", *shop]) == 0
    assert "Receipt: " in capsys.readouterr().out
    assert "bea-1907" in read_erased(workspace)


def test_an_erased_shopper_may_be_readmitted(
    workspace: Workspace, shop: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["erase", "--readmit", "ann-1842", *shop]) == 2
    assert "user 'ann-1842' is not on the list of erased users" in capsys.readouterr().err
    main(["erase", "ann-1842", *shop])
    assert main(["erase", "--readmit", "ann-1842", *shop]) == 0
    assert "ann-1842" not in read_erased(workspace)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give exactly one of: USER, --queued, --verify RECEIPT, --readmit USER"),
        (["ann-1842", "--queued"], "give exactly one of: USER, --queued, --verify RECEIPT, --readmit USER"),
        ([""], "user id must not be empty"),
        (["--verify", "nowhere.json"], "not a receipt of an erasure"),
    ],
)
def test_an_error_is_one_line(
    shop: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["erase", *arguments, *shop]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line)
    assert message in line
