"""Two machines, one bucket."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from object_storage import Endpoint

from features.workspace.mirror import Mirror
from features.workspace.mirror_index import INDEX, LAST, stays_here
from features.workspace.object_store import Bucket, UnreachableError
from recsys.errors import StoreError

PATIENCE_S = 1.0
Machine = Callable[[str], Mirror]


@pytest.fixture
def machine(s3_url: str, tmp_path: Path) -> Machine:
    """A machine's mirror, by name: the same folder each time."""
    return lambda name: Mirror(Bucket(s3_url, PATIENCE_S), tmp_path / name)


def write(mirror: Mirror, **files: str) -> None:
    for name, content in files.items():
        path = mirror.root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def files_of(mirror: Mirror) -> dict[str, str]:
    paths = [path for path in mirror.root.rglob("*") if path.is_file()]
    return {path.relative_to(mirror.root).as_posix(): path.read_text() for path in paths}


def objects(mirror: Mirror) -> list[str]:
    return sorted(key for key, _ in mirror.bucket.keys("files/"))


def puts(s3: Endpoint) -> list[str]:
    return [path for method, path in s3.requests if method == "PUT"]


def test_what_one_machine_sends_another_has(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    here.pull()
    write(here, lake__day="1", releases__CURRENT="a")
    assert here.push()
    there.pull()
    assert files_of(there) == {"lake/day": "1", "releases/CURRENT": "a"}
    (there.root / "lake" / "day").unlink()
    write(there, releases__CURRENT="b", lake__next="2")
    assert there.push()
    here.pull()
    assert files_of(here) == {"lake/next": "2", "releases/CURRENT": "b"}
    assert len(objects(here)) == 2


def test_only_what_differs_travels(machine: Machine, s3: Endpoint) -> None:
    here = machine("here")
    here.pull()
    write(here, lake__a="1", lake__b="2")
    here.push()
    s3.requests.clear()
    again = machine("here")
    again.pull()
    (again.root / "lake" / "a").touch()
    assert not again.push()
    assert [method for method, _ in s3.requests] == ["GET"]
    write(again, lake__b="3")
    assert again.push()
    assert len(puts(s3)) == 2  # the file and the index


def test_what_belongs_to_a_machine_stays_there(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    here.pull()
    local = {
        "live/live.sqlite": "events",
        "training/epoch": "3",
        "lease.json": "",
        "keys-lease.json": "",
        "lake/writer.lease": "",
        "lake/.manifest.json.7.tmp": "{",
        "runs/staging-x/model": "m",
    }
    write(here, **local)
    assert all(map(stays_here, local))
    assert not here.push()
    write(here, lake__a="1")
    here.push()
    there.pull()
    assert files_of(there) == {"lake/a": "1"}
    here.pull()
    assert files_of(here) == local | {"lake/a": "1"}


def test_changes_of_different_files_are_put_together(machine: Machine) -> None:
    night, keys = machine("night"), machine("keys")
    night.pull()
    write(night, releases__CURRENT="a")
    keys.pull()
    write(keys, **{"keys.json": "[]"})
    keys.push()
    night.push()
    night.pull()
    assert files_of(night) == {"releases/CURRENT": "a", "keys.json": "[]"}


def test_of_two_who_change_one_file_the_second_is_refused_and_nothing_is_lost(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    for mirror in (first, second):
        mirror.pull()
    write(first, releases__CURRENT="first", embeddings__a="1")
    write(second, releases__CURRENT="second", embeddings__a="1", embeddings__b="2")
    first.push()
    before = objects(first)
    with pytest.raises(StoreError, match=r"another run has changed releases/CURRENT meanwhile, which stays"):
        second.push()
    assert objects(first) == before
    second.pull()
    assert files_of(second) == {"releases/CURRENT": "first", "embeddings/a": "1", "embeddings/b": "2"}
    assert second.push()  # the vectors that it had made
    first.pull()
    assert files_of(first) == files_of(second)


def test_equal_changes_of_two_are_no_quarrel(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    for mirror in (first, second):
        mirror.pull()
        write(mirror, embeddings__a="1")
    first.push()
    second.push()
    first.pull()
    assert files_of(first) == {"embeddings/a": "1"}


@pytest.mark.parametrize("n_sent", [0, 1, 2, 3])
def test_a_crash_while_sending_leaves_the_bucket_as_it_was(machine: Machine, s3: Endpoint, n_sent: int) -> None:
    here, there = machine("here"), machine("there")
    here.pull()
    write(here, releases__CURRENT="a", lake__a="1")
    here.push()
    write(here, releases__CURRENT="b", lake__a="2", lake__b="3")
    left = n_sent

    def stop(method: str, path: str) -> int | None:
        nonlocal left
        left -= method == "PUT"
        return 400 if left < 0 else None

    s3.fail = stop
    with pytest.raises(StoreError):
        here.push()
    s3.fail = lambda _method, _path: None
    there.pull()
    assert files_of(there) == {"releases/CURRENT": "a", "lake/a": "1"}
    restarted = machine("here")
    assert restarted.has_unsent
    restarted.push()
    there.pull()
    assert files_of(there) == {"releases/CURRENT": "b", "lake/a": "2", "lake/b": "3"}
    restarted.sweep(datetime.now(UTC))
    assert len(objects(restarted)) >= 3
    restarted.sweep(datetime.now(UTC) + timedelta(days=2))
    assert len(objects(restarted)) == 3


def test_a_write_whose_answer_was_lost_counts(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine("here")
    here.pull()
    write(here, lake__a="1")
    put_if = here.bucket.put_if

    def losing(key: str, content: bytes, etag: str) -> None:
        assert put_if(key, content, etag)

    monkeypatch.setattr(here.bucket, "put_if", losing)
    assert here.push()
    assert not machine("here").has_unsent


def test_a_run_that_lost_its_lease_sends_no_index(machine: Machine) -> None:
    here = machine("here")
    here.pull()
    write(here, lake__a="1")

    def lost() -> None:
        raise StoreError("lease lost")

    with pytest.raises(StoreError, match="lease lost"):
        here.push(lost)
    assert here.bucket.get(INDEX) is None


def corrupt(mirror: Mirror, content: bytes) -> str:
    """Overwrite the one object that holds a file; its key."""
    (key,) = objects(mirror)
    stored = mirror.bucket.get(key)
    assert stored is not None
    assert mirror.bucket.put_if(key, content, stored.etag)
    return key


@pytest.mark.parametrize("damage", [b"2", b"", b"11"])
def test_an_altered_object_is_fetched_again_and_refused(machine: Machine, s3: Endpoint, damage: bytes) -> None:
    here, there = machine("here"), machine("there")
    here.pull()
    write(here, lake__a="1")
    here.push()
    key = corrupt(here, damage)
    with pytest.raises(StoreError, match=rf"{key}: altered: SHA-256 \w+, sent with \w+; restore the object"):
        there.pull()
    assert len([path for method, path in s3.requests if method == "GET" and path.endswith(key)]) == 3  # once by us
    assert files_of(there) == {}


def test_a_missing_object_is_told(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    here.pull()
    write(here, lake__a="1")
    here.push()
    here.bucket.delete(objects(here))
    with pytest.raises(StoreError, match=r"files/lake/a\.\w+: missing"):
        there.pull()


def test_a_reader_whose_objects_go_meanwhile_reads_the_new_index(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = machine("here"), machine("there")
    here.pull()
    write(here, lake__a="1")
    here.push()
    fetch = there.bucket.fetch

    def late(key: str, path: Path) -> str | None:
        monkeypatch.setattr(there.bucket, "fetch", fetch)
        write(here, lake__a="2")
        here.push()
        return fetch(key, path)

    monkeypatch.setattr(there.bucket, "fetch", late)
    there.pull()
    assert files_of(there) == {"lake/a": "2"}


def test_what_names_others_changes_after_them(machine: Machine, s3: Endpoint) -> None:
    here, there = machine("here"), machine("there")
    here.pull()
    write(here, **dict.fromkeys(LAST, "1"), **{"releases/a/manifest.json": "2", "store/items": "3"})
    here.push()
    there.pull()
    fetched = [path for method, path in s3.requests if method == "GET" and "/files/" in path]
    assert [name for path in fetched[-3:] for name in LAST if f"/files/{name}." in path] == list(LAST)


def test_a_pull_that_is_cut_off_is_taken_up(machine: Machine, s3: Endpoint) -> None:
    here = machine("here")
    here.pull()
    write(here, lake__a="1", lake__b="2", releases__CURRENT="a")
    here.push()
    there = machine("there")
    s3.fail = lambda method, path: 503 if "/files/releases/CURRENT" in path else None
    with pytest.raises(UnreachableError):
        there.pull()
    assert "releases/CURRENT" not in files_of(there)
    s3.fail = lambda _method, _path: None
    s3.requests.clear()
    machine("there").pull()
    assert files_of(machine("there")) == files_of(here)
    assert len(s3.requests) == 2  # the index and CURRENT


def test_a_file_lost_or_altered_in_the_cache_is_fetched_again(machine: Machine) -> None:
    here = machine("here")
    here.pull()
    write(here, lake__a="1", lake__b="2")
    here.push()
    (here.root / "lake" / "a").unlink()
    write(here, lake__b="damaged")
    machine("here").pull()
    assert files_of(here) == {"lake/a": "1", "lake/b": "2"}


def test_a_damaged_index_is_told(machine: Machine) -> None:
    here = machine("here")
    here.bucket.put_if(INDEX, b"{", "")
    with pytest.raises(StoreError, match=r"index\.json: damaged"):
        here.pull()
