from datetime import UTC, datetime
from pathlib import Path

import pytest
from object_storage import Endpoint

import features.workspace.location
from features.workspace.location import (
    NIGHT,
    cache_folder,
    checked_place,
    editing,
    follow,
    local_workspace,
    reading,
    served,
    working,
)
from recsys.errors import ConfigError, DataError, StoreError
from recsys.workspace import Workspace

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


def clock() -> datetime:
    return NOW


def publish(url: str, release: str) -> None:
    with working(url, NIGHT, clock) as workspace:
        for path in (workspace.releases / release / "manifest.json", workspace.current):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(release)


def current(workspace: Workspace) -> str:
    return workspace.current.read_text()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMMAND_PATIENCE_S", "SERVICE_PATIENCE_S"):
        monkeypatch.setattr(features.workspace.location, name, 0.3)


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    with working(str(tmp_path), NIGHT, clock) as workspace:
        assert workspace == Workspace(tmp_path)
    with editing(str(tmp_path)) as workspace, reading(str(tmp_path)) as read:
        assert workspace == read == local_workspace(str(tmp_path)) == Workspace(tmp_path)
    assert served(str(tmp_path)) == (Workspace(tmp_path), None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["s3:/shop/w", "s3://", "s3://Shop/w", "gs://shop/w", "s3://shop//w"])
def test_what_only_looks_like_a_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="s3://bucket/prefix"):
        checked_place(text)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="a file"):
        checked_place(str(tmp_path / "file"))


def test_a_url_is_kept_without_its_last_slash() -> None:
    assert checked_place("s3://shop/my/w/") == "s3://shop/my/w"
    assert checked_place("shop/w") == "shop/w"
    with pytest.raises(ConfigError, match="works on a folder"):
        local_workspace("s3://shop/w")


def test_buckets_of_one_name_at_two_endpoints_have_two_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path))
    folders = []
    for endpoint in ("http://one", "http://two"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        folders.append(cache_folder("s3://shop/w"))
    assert len(set(folders)) == 2
    assert all(folder.is_relative_to(tmp_path) for folder in folders)


def test_what_a_command_writes_is_read_elsewhere(s3_url: str) -> None:
    publish(s3_url, "a")
    with reading(s3_url) as workspace:
        assert current(workspace) == "a"
        assert workspace.shown == s3_url


def test_a_command_that_is_refused_leaves_what_it_had_written(s3_url: str) -> None:
    with pytest.raises(DataError, match="too many bad rows"), working(s3_url, NIGHT, clock) as workspace:
        workspace.quarantine.mkdir()
        (workspace.quarantine / "rows").write_text("bad")
        raise DataError("too many bad rows")
    with working(s3_url, NIGHT, clock) as workspace:
        assert (workspace.quarantine / "rows").read_text() == "bad"


def test_a_defect_sends_nothing_and_is_undone_by_the_next_command(s3_url: str) -> None:
    publish(s3_url, "a")
    with pytest.raises(ZeroDivisionError), working(s3_url, NIGHT, clock) as workspace:
        workspace.current.write_text("b")
        raise ZeroDivisionError
    with working(s3_url, NIGHT, clock) as workspace:
        assert current(workspace) == "a"


def test_a_second_command_of_this_machine_is_refused(s3_url: str) -> None:
    again = working(s3_url, NIGHT, clock)
    with working(s3_url, NIGHT, clock), pytest.raises(StoreError, match="another command of this machine"):
        again.__enter__()


def test_a_night_on_another_machine_is_refused(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = working(s3_url, NIGHT, clock)
    with working(s3_url, NIGHT, clock):
        monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "other"))
        with pytest.raises(StoreError, match=rf"{s3_url}: process \d+ on .* writes to this workspace"):
            other.__enter__()


def test_keys_change_while_a_night_runs(s3_url: str) -> None:
    with working(s3_url, NIGHT, clock) as night:
        with editing(s3_url) as workspace:
            workspace.api_keys.write_text("[]")
        night.lake.mkdir()
        (night.lake / "day").write_text("1")
    with reading(s3_url, "lake") as workspace:
        assert workspace.api_keys.read_text() == "[]"
        assert (workspace.lake / "day").read_text() == "1"


@pytest.mark.usefixtures("impatient")
def test_what_could_not_be_sent_is_sent_by_the_next_command(s3_url: str, s3: Endpoint) -> None:
    publish(s3_url, "a")
    with pytest.raises(StoreError, match="cannot be reached"), working(s3_url, NIGHT, clock) as workspace:
        workspace.current.write_text("b")
        s3.fail = lambda method, path: 503 if method == "PUT" and "files/" in path else None
    s3.fail = lambda _method, _path: None
    with working(s3_url, NIGHT, clock) as workspace:
        assert current(workspace) == "b"
    with reading(s3_url) as workspace:
        assert current(workspace) == "b"


@pytest.mark.usefixtures("impatient")
def test_a_service_starts_from_the_cache_where_the_bucket_cannot_be_reached(
    s3_url: str, s3: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    publish(s3_url, "a")
    s3.fail = lambda _method, _path: 503
    with pytest.raises(StoreError, match="cannot be reached"):
        served(s3_url)  # nothing has been fetched yet
    s3.fail = lambda _method, _path: None
    served(s3_url)
    s3.fail = lambda _method, _path: 503
    workspace, mirror = served(s3_url)
    assert current(workspace) == "a"
    assert "served from this machine's copy" in caplog.text
    s3.fail = lambda _method, _path: None
    publish(s3_url, "b")
    assert mirror is not None
    assert follow(mirror)
    assert current(workspace) == "b"


def test_replicas_of_one_machine_share_what_was_fetched(s3_url: str, s3: Endpoint) -> None:
    publish(s3_url, "a")
    (workspace, first), (_, second) = served(s3_url), served(s3_url)
    assert first is not None
    assert second is not None
    publish(s3_url, "b")
    assert follow(first)
    s3.requests.clear()
    assert follow(second)
    assert len(s3.requests) == 2  # it has changed, and what it says
    s3.requests.clear()
    assert not follow(second)
    assert len(s3.requests) == 1
    assert current(workspace) == "b"
