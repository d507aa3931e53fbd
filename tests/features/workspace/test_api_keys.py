from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.workspace.api_keys import Limits, Scope, create_key, digest, read_keys, revoke_key
from recsys.errors import ApiKeyError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_without_a_file_there_is_no_key(file: Path) -> None:
    assert read_keys(file) == ()


def test_the_file_holds_the_digest_of_a_key_and_never_the_key(file: Path) -> None:
    secret = create_key(file, "shop", (Scope.READ,), NOW)
    assert secret not in file.read_text()
    (key,) = read_keys(file)
    assert key.sha256 == digest(secret.encode())
    assert key.scopes == (Scope.READ,)
    assert key.is_valid(NOW)


def test_two_keys_differ_and_are_long(file: Path) -> None:
    first, second = (create_key(file, name, (Scope.READ,), NOW) for name in ("a", "b"))
    assert first != second
    assert len(first) >= 43  # 256 bits in 64 signs


def test_a_key_ends_when_it_expires(file: Path) -> None:
    create_key(file, "shop", (Scope.READ,), NOW, expires_at=NOW + timedelta(days=1))
    (key,) = read_keys(file)
    assert key.is_valid(NOW + timedelta(hours=23))
    assert not key.is_valid(NOW + timedelta(days=1))


def test_a_revoked_key_stays_listed_and_its_name_is_free(file: Path) -> None:
    create_key(file, "shop", (Scope.READ,), NOW)
    revoke_key(file, "shop", NOW)
    create_key(file, "shop", (Scope.WRITE,), NOW, limits=Limits(requests_per_s=2.5, max_concurrent=1))
    revoked, valid = read_keys(file)
    assert (revoked.is_valid(NOW), valid.is_valid(NOW)) == (False, True)
    assert (valid.requests_per_s, valid.max_concurrent) == (2.5, 1)


def test_a_name_is_given_once(file: Path) -> None:
    create_key(file, "shop", (Scope.READ,), NOW)
    with pytest.raises(ApiKeyError, match="choose another name"):
        create_key(file, "shop", (Scope.READ,), NOW)


def test_an_end_in_the_past_is_refused(file: Path) -> None:
    with pytest.raises(ApiKeyError, match="has passed"):
        create_key(file, "shop", (Scope.READ,), NOW, expires_at=NOW)
    assert read_keys(file) == ()


def test_revoking_what_is_not_there_names_what_is(file: Path) -> None:
    create_key(file, "shop", (Scope.READ,), NOW)
    with pytest.raises(ApiKeyError, match="no valid key named 'shpo'; there are shop"):
        revoke_key(file, "shpo", NOW)


@pytest.mark.parametrize("content", ["", "{", '{"version": 1}', '{"version": 1, "keys": [{"name": "a"}]}', "[]"])
def test_a_damaged_file_is_named_with_its_fault(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(ApiKeyError, match=r"keys\.json: not a file of keys"):
        read_keys(file)


def test_a_file_of_a_later_version_is_refused(file: Path) -> None:
    file.write_text('{"version": 2, "keys": []}')
    with pytest.raises(ApiKeyError, match="version 2"):
        read_keys(file)
