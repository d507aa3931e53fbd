import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.workspace.erased_users import add_erased
from features.workspace.erasure_receipt import (
    VERSION,
    Place,
    Receipt,
    Searched,
    note_release,
    receipts,
    trained_with_erased,
    verify_receipt,
    write_receipt,
)
from recsys.errors import ErasureError
from recsys.workspace import Workspace

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path / "shop")
    add_erased(place, "ann", NOW)
    return place


def receipt(subject: str = "ab" * 32, **changes: object) -> Receipt:
    plain = Receipt(
        version=VERSION,
        subject=subject,
        known=True,
        requested_at=None,
        request_id="",
        erased_at=NOW,
        runs=1,
        places={"lake": Place({"events": 3}, {"lake/manifest.json": "00"})},
        searched=Searched(1, 2, 3, "bytes", 4, 0),
        trained_with=("r1",),
        encoders=(),
        first_without="",
        sources=(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_receipt_is_kept_by_time_and_holds(workspace: Workspace) -> None:
    path = write_receipt(workspace, receipt())
    assert path == workspace.erasures / "20260102T030405Z-abababababab.json"
    assert replace(verify_receipt(workspace, path), signature="") == receipt()


def test_a_receipt_that_was_altered_does_not_hold(workspace: Workspace) -> None:
    path = write_receipt(workspace, receipt())
    content = json.loads(path.read_text())
    content["places"]["lake"]["removed"]["events"] = 4
    path.write_text(json.dumps(content))
    with pytest.raises(ErasureError, match="altered, or of another workspace"):
        verify_receipt(workspace, path)


def test_a_receipt_of_another_workspace_does_not_hold(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other")
    add_erased(other, "ann", NOW)
    with pytest.raises(ErasureError, match="altered, or of another workspace"):
        verify_receipt(other, write_receipt(workspace, receipt()))


@pytest.mark.parametrize("content", [None, "no json", "{}"])
def test_what_is_no_receipt_is_refused(workspace: Workspace, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ErasureError, match="not a receipt of an erasure"):
        verify_receipt(workspace, path)


def test_the_first_release_made_afterwards_is_noted_and_signed(workspace: Workspace) -> None:
    write_receipt(workspace, receipt())
    write_receipt(workspace, receipt("cd" * 32, known=False, trained_with=("r0", "r1")))
    assert trained_with_erased(workspace) == {"r1"}
    for release_id in ("r2", "r3"):
        note_release(workspace, release_id)
    assert [stored.first_without for stored in receipts(workspace)] == ["r2", "r2"]
