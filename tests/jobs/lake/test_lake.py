import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import jobs.lake.lake
from jobs.lake.lake import TABLES, Lake
from recsys.errors import DataError

DAY_1, DAY_2 = "day=2024-01-01", "day=2024-01-02"


def events(*rows: tuple[str, datetime]) -> pl.DataFrame:
    schema = TABLES["events"].polars_schema()
    blank = dict.fromkeys(schema)
    return pl.DataFrame(
        [
            blank | {"event_id": name, "user_id": "u", "item_id": "i", "event_type": "view", "timestamp": at}
            for name, at in rows
        ],
        schema=schema,
    )


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2024, 1, day, hour, tzinfo=UTC)


def committed(root: Path, rows: pl.DataFrame, *partitions: str) -> Lake:
    lake = Lake(root)
    return lake.commit(lake.write("events", rows, partitions))


def test_a_lake_without_files_gives_empty_tables_of_the_right_types(tmp_path: Path) -> None:
    for table, layout in TABLES.items():
        rows = Lake(tmp_path).scan(table).collect()
        assert (rows.height, dict(rows.schema)) == (0, layout.polars_schema())


def test_what_was_committed_is_read_back_and_counted(tmp_path: Path) -> None:
    rows = events(("a", at(1, 5)), ("b", at(1, 6)), ("c", at(2)))
    lake = committed(tmp_path, rows, DAY_1, DAY_2)
    assert lake.scan("events").sort("event_id").collect().equals(rows)
    assert (lake.n_rows("events"), lake.n_rows("catalog")) == (3, 0)
    assert {file.path.split("/")[1] for file in lake.files} == {DAY_1, DAY_2}


def test_since_keeps_the_rows_from_that_time_on_and_opens_no_earlier_day(tmp_path: Path) -> None:
    lake = committed(tmp_path, events(("a", at(1)), ("b", at(2, 5)), ("c", at(2, 7))), DAY_1, DAY_2)
    first = next(file for file in lake.files if file.partition == DAY_1)
    (tmp_path / first.path).unlink()
    assert lake.scan("events", since=at(2, 6)).collect()["event_id"].to_list() == ["c"]


def test_rows_without_files_are_refused_with_their_number(tmp_path: Path) -> None:
    lake = committed(tmp_path, events(("a", at(1)), ("c", at(2))), DAY_1, DAY_2)
    (tmp_path / lake.files[0].path).unlink()
    with pytest.raises(DataError, match="1 of 2 files of events are missing"):
        lake.scan("events")


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"files": [{"path"')
    with pytest.raises(DataError, match=r"manifest\.json: damaged"):
        Lake(tmp_path).scan("events")


def test_the_digest_follows_the_rows_and_not_their_order(tmp_path: Path) -> None:
    first, two = ("a", at(1, 5)), ("b", at(1, 6))
    lake = committed(tmp_path / "1", events(first, two), DAY_1)
    same = committed(tmp_path / "2", events(two, first), DAY_1)
    other = committed(tmp_path / "3", events(first), DAY_1)
    assert lake.digest() == same.digest() != other.digest()


def test_a_commit_replaces_the_partitions_written_and_deletes_their_old_files(tmp_path: Path) -> None:
    before = committed(tmp_path, events(("a", at(1)), ("b", at(2))), DAY_1, DAY_2)
    after = committed(tmp_path, events(("c", at(2))), DAY_2)
    assert sorted(after.scan("events").collect()["event_id"]) == ["a", "c"]
    removed = {file.path for file in before.files} - {file.path for file in after.files}
    assert removed and not any((tmp_path / path).exists() for path in removed)


def test_a_partition_written_without_rows_is_removed(tmp_path: Path) -> None:
    committed(tmp_path, events(("a", at(1)), ("b", at(2))), DAY_1, DAY_2)
    lake = committed(tmp_path, events(), DAY_1)
    assert lake.scan("events").collect()["event_id"].to_list() == ["b"]
    assert not (tmp_path / "events" / DAY_1).exists()


@pytest.mark.parametrize("step", ["sync", "write_atomically"])
def test_a_crash_before_the_manifest_leaves_the_lake_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = committed(tmp_path, events(("a", at(1))), DAY_1)

    def crash(*_: object) -> None:
        raise RuntimeError(step)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match=step):
        patched.setattr(jobs.lake.lake, step, crash)
        committed(tmp_path, events(("b", at(1))), DAY_1)
    after = Lake(tmp_path)
    assert after.digest() == before.digest()
    assert after.scan("events").collect()["event_id"].to_list() == ["a"]


def test_a_crash_after_the_manifest_leaves_the_new_lake_and_the_next_commit_tidies_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(tmp_path, events(("a", at(1))), DAY_1)

    def crash(*_: object) -> None:
        raise RuntimeError("deleting")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="deleting"):
        patched.setattr(jobs.lake.lake, "_delete_unlisted", crash)
        committed(tmp_path, events(("b", at(1))), DAY_1)
    assert Lake(tmp_path).scan("events").collect()["event_id"].to_list() == ["b"]
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    committed(tmp_path, events(("c", at(2))), DAY_2)
    listed = {entry["path"] for entry in json.loads((tmp_path / "manifest.json").read_text())["files"]}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")} == listed
