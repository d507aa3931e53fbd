import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.workspace.api_keys import Scope, create_key, digest, revoke_key
from serving.watch.keys import KeyWatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def watch_of(file: Path, *, always_required: bool = False) -> KeyWatch:
    watch = KeyWatch(file, 1.0, always_required=always_required)
    watch.poll()
    return watch


def knows(watch: KeyWatch, secret: str) -> bool:
    return watch.keys.valid(digest(secret.encode()), NOW) is not None


def test_without_a_file_the_door_is_open_unless_others_can_reach_it(file: Path) -> None:
    assert not watch_of(file).keys.are_required
    assert watch_of(file, always_required=True).keys.are_required


def test_keys_come_and_go_while_it_runs(file: Path) -> None:
    watch = watch_of(file)
    old = create_key(file, "old", (Scope.READ,), NOW)
    assert watch.poll()
    assert watch.keys.are_required
    new = create_key(file, "new", (Scope.READ,), NOW)
    assert watch.poll()
    assert knows(watch, old) and knows(watch, new)
    revoke_key(file, "old", NOW)
    assert watch.poll()
    assert not knows(watch, old)
    assert knows(watch, new)


def test_a_file_that_did_not_change_is_not_read(file: Path) -> None:
    create_key(file, "shop", (Scope.READ,), NOW)
    watch = watch_of(file)
    assert not watch.poll()


def test_when_the_last_key_is_revoked_the_door_stays_shut(file: Path) -> None:
    create_key(file, "shop", (Scope.READ,), NOW)
    revoke_key(file, "shop", NOW)
    assert watch_of(file).keys.are_required


@pytest.mark.parametrize("damage", ["remove", "cut"])
def test_while_the_file_is_damaged_the_last_keys_count_on(
    file: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = create_key(file, "shop", (Scope.READ,), NOW)
    watch = watch_of(file)
    whole = file.read_bytes()
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(whole[:20])
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        assert not watch.poll()
        assert not watch.poll()
    assert len(caplog.records) == 1
    assert "stay in force" in caplog.text
    assert knows(watch, secret)
    assert watch.keys.are_required
    file.write_bytes(whole)
    assert watch.poll()
