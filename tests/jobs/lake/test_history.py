import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from features.workspace.lake_files import LakeFile
from jobs.lake.history import Change, History, read_history
from recsys.errors import DataError

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


def change(change_id: int, *partitions: str, known: tuple[str, ...] = ()) -> Change:
    """It changed `partitions`, and had rows of others that were known."""
    before = tuple(LakeFile("events", name, f"{name}.parquet", 1, "d") for name in partitions)
    return Change(change_id, NOON, {}, {"events": (1, 0)}, before, tuple(("events", name) for name in known))


def history(*changes: Change) -> History:
    return History(len(changes), changes)


def test_it_is_read_as_it_was_written_and_empty_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    assert read_history(path) == History()
    path.write_text(json.dumps({"version": 1, "files": []}))
    assert read_history(path) == History()
    undone = history(change(1, "a"), change(2, "b")).without_changes([1], NOON, keep=3)
    path.write_text(json.dumps({"history": TypeAdapter(History).dump_python(undone, mode="json")}))
    assert read_history(path) == undone
    assert undone.undone[0].undone_at == NOON


def test_a_damaged_one_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for content in ('{"history": {"changes": 5}}', "[]", "half of a fi"):
        path.write_text(content)
        with pytest.raises(DataError, match=r"manifest\.json: damaged history of ingests .*remove its field"):
            read_history(path)


def test_of_many_only_the_last_stay_and_no_number_comes_twice() -> None:
    changes = History()
    for number in range(1, 6):
        changes = changes.with_change(change(number, f"p{number}"), keep=2)
    assert [entry.id for entry in changes.changes] == [4, 5]
    assert changes.files() == {"p4.parquet", "p5.parquet"}
    left = changes.without_changes([4, 5], NOON, keep=1)
    assert ([entry.id for entry in left.changes], [entry.id for entry in left.undone], left.last_id) == ([], [5], 5)
    assert not left.files()


@pytest.mark.parametrize(
    ("changes", "undone", "all_of_them"),
    [
        ([change(1, "a"), change(2, "b")], {1}, {1}),
        ([change(1, "a"), change(2, "a")], {1}, {1, 2}),
        ([change(1, "a"), change(2, "a")], {2}, {2}),
        ([change(1, "a"), change(2, "b", known=("a",))], {1}, {1, 2}),  # its known rows would be lost with 1's
        ([change(1, "b", known=("a",)), change(2, "a")], {1}, {1}),
        ([change(1, "a"), change(2, "a", "b"), change(3, "b")], {1}, {1, 2, 3}),
    ],
)
def test_dependents_of_an_ingest_are_found(changes: list[Change], undone: set[int], all_of_them: set[int]) -> None:
    assert history(*changes).with_later(undone) == all_of_them


def test_later_changes_are_listed_newest_first_without_mere_dependents() -> None:
    changes = history(change(1, "a"), change(2, "b"), change(3, known=("b",)), change(4, "c"))
    assert (changes.since(1), changes.since(4)) == ([4, 3, 2], [])
    assert changes.with_later(changes.since(1)) == {2, 3, 4}
