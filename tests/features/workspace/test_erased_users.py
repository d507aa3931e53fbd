from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.workspace.erased_users import KEY_FILE, LIST_FILE, add_erased, read_erased, readmit
from recsys.errors import ErasureError
from recsys.workspace import Workspace

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "shop")


def test_nobody_is_kept_out_of_a_workspace_without_a_list(workspace: Workspace) -> None:
    assert "ann" not in read_erased(workspace)
    assert not workspace.root.exists()


def test_an_erased_shopper_is_known_by_a_keyed_hash_alone(workspace: Workspace) -> None:
    subject = add_erased(workspace, "ann@shop.example", NOW)
    assert add_erased(workspace, "ann@shop.example", NOW) == subject
    add_erased(workspace, "sjø", NOW)
    erased = read_erased(workspace)
    assert ["ann@shop.example" in erased, "sjø" in erased, "ann" in erased, None in erased] == [
        True,
        True,
        False,
        False,
    ]
    assert len(erased) == 2
    assert b"ann" not in b"".join(path.read_bytes() for path in workspace.erasures.iterdir())
    assert (workspace.erasures / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_the_same_id_has_another_hash_in_another_workspace(workspace: Workspace, tmp_path: Path) -> None:
    assert add_erased(workspace, "ann", NOW) != add_erased(Workspace(tmp_path / "other"), "ann", NOW)


def test_a_shopper_may_come_back_and_others_stay_out(workspace: Workspace) -> None:
    for name in ("ann", "bea"):
        add_erased(workspace, name, NOW)
    assert not readmit(workspace, "cat", NOW)
    assert readmit(workspace, "ann", NOW)
    erased = read_erased(workspace)
    assert "ann" not in erased and "bea" in erased


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (KEY_FILE, None, "the key of the erasures cannot be read"),
        (KEY_FILE, "no hex", "the key of the erasures cannot be read"),
        (KEY_FILE, "abcd", "2 bytes, a key has 32"),
        (LIST_FILE, "{}", "not a file of erased shoppers"),
    ],
)
def test_nobody_comes_back_because_a_file_is_damaged(
    workspace: Workspace, name: str, content: str | None, message: str
) -> None:
    add_erased(workspace, "ann", NOW)
    path = workspace.erasures / name
    path.unlink() if content is None else path.write_text(content)
    for use in (lambda: read_erased(workspace), lambda: add_erased(workspace, "bea", NOW)):
        with pytest.raises(ErasureError, match=message):
            use()
