import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from features.store.formats import FORMATS, LATEST, QUOTE_FILES
from features.store.manifest import (
    BEGINNING,
    LivePosition,
    Manifest,
    Pointer,
    new_release_id,
    read_manifest,
    read_pointer,
    verify_files,
    write_manifest,
    write_pointer,
)
from recsys.errors import StoreError

AS_OF = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
MANIFEST = Manifest(
    release_id="b",
    parent="a",
    as_of=AS_OF,
    created_at=AS_OF + timedelta(hours=1),
    tables={"items": 4, "users": 2, "reviews": 9},
    rows={"items": 12, "users": 0, "reviews": 3},
    files={"model/factors.npz": "00" * 32},
    encoder_id="minilm",
    encoder_sha256="11" * 32,
    config_sha256="22" * 32,
    metrics={"all": {"recall@10": 0.125}, "cold items": {"recall@10": 0.0}},
    log_offset=LivePosition("5f2c", 12),
)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_manifest_from_before_there_was_a_live_database_begins_at_its_beginning(tmp_path: Path) -> None:
    write_manifest(tmp_path, replace(MANIFEST, format=0))
    content = json.loads((tmp_path / "manifest.json").read_text())
    del content["live"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert read_manifest(tmp_path, digest_of(tmp_path / "manifest.json")).log_offset == BEGINNING


def read_content(folder: Path, content: dict[str, object]) -> Manifest:
    (folder / "manifest.json").write_text(json.dumps(content))
    return read_manifest(folder, digest_of(folder / "manifest.json"))


def test_a_manifest_that_names_no_format_is_one_of_recsys_0_1(tmp_path: Path) -> None:
    """Byte for byte what the version before formats wrote."""
    old = {
        "release_id": "b",
        "parent": "a",
        "as_of": "2026-11-23T03:00:00Z",
        "created_at": "2026-11-23T04:00:00Z",
        "tables": {"items": 4, "users": 2, "reviews": 9},
        "rows": {"items": 12, "users": 0, "reviews": 3},
        "files": {"model/factors.npz": "00" * 32},
        "encoder_id": "minilm",
        "encoder_sha256": "11" * 32,
        "config_sha256": "22" * 32,
        "metrics": {"again": {"all": {"recall": 0.5}}, "fused": {"all": {"recall": 0.125}}},
        "live": {"database_id": "5f2c", "event_seq": 12, "item_version": 0},
    }
    manifest = read_content(tmp_path, old)
    assert (manifest.format, manifest.log_offset) == (0, LivePosition("5f2c", 12))
    assert manifest.metrics.keys() == {"buy_again", "fused"}  # sources have their names of today
    write_manifest(tmp_path, manifest)  # as an erasure does
    assert json.loads((tmp_path / "manifest.json").read_text()) == old | {
        "metrics": {"buy_again": {"all": {"recall": 0.5}}, "fused": {"all": {"recall": 0.125}}}
    }


def test_a_new_manifest_says_its_format(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert content["format"] == LATEST == max(FORMATS)
    assert content["log_offset"]["event_seq"] == 12
    assert "live" not in content


def test_a_format_of_a_later_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    content = json.loads((tmp_path / "manifest.json").read_text()) | {"format": 7, "colour": "blue"}
    with pytest.raises(StoreError, match=r"release format 7, this version of recsys reads 0 and 1; update recsys, or"):
        read_content(tmp_path, content)


@pytest.mark.parametrize("wrong", ["1", None, 1.0])
def test_a_format_that_is_no_whole_number_is_damage(tmp_path: Path, wrong: object) -> None:
    write_manifest(tmp_path, MANIFEST)
    content = json.loads((tmp_path / "manifest.json").read_text()) | {"format": wrong}
    with pytest.raises(StoreError, match=r"damaged at format"):
        read_content(tmp_path, content)


def test_only_an_older_format_may_lack_a_file_of_every_newer_release() -> None:
    with pytest.raises(StoreError, match=r"its manifest \(format 1\) lists no quotes\.parquet"):
        MANIFEST.has_all(QUOTE_FILES)
    assert not replace(MANIFEST, format=0).has_all(QUOTE_FILES)
    whole = replace(MANIFEST, files={f"model-2/{name}": "" for name in QUOTE_FILES})
    assert whole.has_all(QUOTE_FILES)


def test_a_manifest_reads_back_as_written(tmp_path: Path) -> None:
    digest = write_manifest(tmp_path, MANIFEST)
    assert digest == digest_of(tmp_path / "manifest.json")
    assert read_manifest(tmp_path, digest) == MANIFEST


def test_an_altered_manifest_is_refused(tmp_path: Path) -> None:
    digest = write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace("0.125", "0.925"))
    with pytest.raises(StoreError, match=r"manifest\.json: altered"):
        read_manifest(tmp_path, digest)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"manifest\.json: cannot be read"):
        read_manifest(tmp_path, "")


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("tables", {"items": "4"}, r"tables\.items"),
        ("rows", None, "rows"),
        ("as_of", "2026-11-23T03:00:00", "as_of"),  # no time zone
        ("as_of", "yesterday", "as_of"),
        ("colour", "blue", "colour"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(tmp_path: Path, key: str, value: object, named: str) -> None:
    write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(StoreError, match=rf"manifest\.json: damaged at {named}"):
        read_manifest(tmp_path, digest_of(path))


def test_a_pointer_reads_back_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "CURRENT"
    write_pointer(path, Pointer("a", {"z": "1", "a": "2", "m": "3"}))
    pointer = read_pointer(path)
    assert pointer == Pointer("a", {"z": "1", "a": "2", "m": "3"})
    assert list(pointer.published) == ["z", "a", "m"]


def test_no_pointer_is_none(tmp_path: Path) -> None:
    assert read_pointer(tmp_path / "CURRENT") is None


@pytest.mark.parametrize("content", ["", "{", '"b"', '{"current": "b"}', '{"current": "b", "published": {"a": "0"}}'])
def test_a_damaged_pointer_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "CURRENT").write_text(content)
    with pytest.raises(StoreError, match=r"CURRENT: damaged.*restore the file"):
        read_pointer(tmp_path / "CURRENT")


def test_release_ids_sort_by_the_time_they_stand_for() -> None:
    ids = [new_release_id(AS_OF + timedelta(days=days), AS_OF, "c") for days in range(40)]
    assert ids == sorted(ids)
    assert ids[0].startswith("20261123T030000Z-")


def test_release_ids_are_in_utc_and_tell_two_runs_apart() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert new_release_id(AS_OF, AS_OF, "c") == new_release_id(AS_OF.astimezone(tokyo), AS_OF.astimezone(tokyo), "c")
    later = AS_OF + timedelta(microseconds=1)
    ids = {new_release_id(AS_OF, AS_OF, "c"), new_release_id(AS_OF, later, "c"), new_release_id(AS_OF, AS_OF, "d")}
    assert len(ids) == 3


def test_every_file_is_verified(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    files = {name: digest_of(tmp_path / name) for name in ("a", "b")}
    verify_files(tmp_path, files)
    (tmp_path / "b").write_text("c")
    with pytest.raises(StoreError, match="/b: altered"):
        verify_files(tmp_path, files)
    (tmp_path / "b").unlink()
    with pytest.raises(StoreError, match="/b: missing, 1 of 2 model files"):
        verify_files(tmp_path, files)
