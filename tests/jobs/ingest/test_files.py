import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jobs.ingest.files
import jobs.ingest.seen_files
from features.workspace.atomic_files import sha256_of
from jobs.ingest.files import IngestReport, TableReport, ingest, ingest_new
from jobs.ingest.offsets import EVENTS_READ, ITEMS_READ
from jobs.ingest.seen_files import TakenFile, load_seen
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.errors import DataError
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)
WriteFile = Callable[[str, str], Path]
IngestTable = Callable[..., IngestReport]

EVENTS = "user_id,item_id,event_type,timestamp\n"
REVIEWS = "review_id,user_id,item_id,rating,text,timestamp\n"


def counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    (table,) = report.tables
    return (table.n_read, table.n_new, table.n_updated, table.n_duplicates, table.n_bad)


def test_a_table_is_taken_partitioned_by_day_and_reported(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    path = write_file(
        "e.csv", EVENTS + "u,i,view,2024-01-02T03:04:05Z\nu,j,cart,2024-01-03\nu,i,view,2024-01-02T03:04:05Z\n"
    )
    report = ingest_table(events=path)
    assert report.tables == (TableReport("events", 3, 2, 0, 1, 0, {}),)
    lake = Lake(workspace.lake)
    assert [file.partition for file in lake.files] == ["day=2024-01-02", "day=2024-01-03"]
    rows = lake.scan("events").sort("timestamp").collect()
    assert rows["item_id"].to_list() == ["i", "j"]
    assert rows["timestamp"].to_list()[0] == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_same_file_again_or_renamed_changes_nothing(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    text = REVIEWS + "r1,u,i,4,fine,2024-01-02\nr2,u,j,9,nine,2024-01-02\n"
    ingest_table(reviews=write_file("a.csv", text))
    before = Lake(workspace.lake).digest()
    for name in ("a.csv", "b.csv"):
        assert counts(ingest_table(reviews=write_file(name, text))) == (2, 0, 0, 1, 1)
    assert Lake(workspace.lake).digest() == before
    assert len(list(workspace.quarantine.rglob("*.parquet"))) == 1


ROWS = st.lists(
    st.tuples(st.sampled_from("uv"), st.sampled_from("ij"), st.integers(0, 3), st.sampled_from(["view", "cart"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, cuts=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)), max_size=4), seed=st.integers(0, 99))
def test_overlapping_files_in_any_order_give_the_lake_of_the_whole_file(
    rows: list[tuple[str, str, int, str]], cuts: list[tuple[int, int]], seed: int
) -> None:
    lines = [f"{user},{item},{kind},{1_700_000_000 + 50_000 * hours}" for user, item, hours, kind in rows]
    parts = [lines[start : start + size] for start, size in cuts] + [lines]
    random.Random(seed).shuffle(parts)
    with TemporaryDirectory() as folder:
        digests = []
        for name, files in (("whole", [lines]), ("parts", [part for part in parts if part])):
            workspace = Workspace(Path(folder, name))
            for number, part in enumerate(files):
                path = Path(folder, f"{name}{number}.csv")
                path.write_text(EVENTS + "\n".join(part))
                ingest(workspace, SourceSpec("table", {"events": (str(path),)}), IngestSettings(batch_rows=3), NOW)
            lake = Lake(workspace.lake)
            assert lake.n_rows("events") == len(set(lines))
            digests.append(lake.digest())
        assert digests[0] == digests[1]


def test_batches_of_two_rows_give_the_lake_of_one_batch(tmp_path: Path, write_file: WriteFile) -> None:
    lines = "".join(f"u{n % 3},i{n % 5},view,2024-01-{1 + n * 7 % 28:02}\n" for n in range(40))
    path = write_file("e.csv", EVENTS + lines + "u,,view,2024-01-01\n")
    digests, reports = set(), []
    for batch_rows in (2, 1000):
        workspace = Workspace(tmp_path / str(batch_rows))
        spec = SourceSpec("table", {"events": (str(path),)})
        reports.append(ingest(workspace, spec, IngestSettings(batch_rows=batch_rows, max_bad_share=0.5), NOW).tables)
        digests.add(Lake(workspace.lake).digest())
    assert len(digests) == 1
    assert reports[0] == reports[1]


def test_bad_rows_are_kept_with_file_row_rule_and_the_row_as_given(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    lines = ["r1,u,i,4,fine,2024-01-02", "r2,u,i,9,nine,2024-01-02", "r3,u,,x,none,", "r4,u,i,1,late,2024-06-03"]
    path = write_file("r.csv", REVIEWS + "\n".join(lines))
    report = ingest_table(reviews=path)
    assert counts(report) == (4, 1, 0, 0, 3)
    (file,) = (report.quarantine / "reviews").iterdir()
    bad = pl.read_parquet(file)
    assert bad["source_file"].to_list() == [str(path)] * 3
    assert bad["row"].to_list() == [2, 3, 4]
    rules = [set(broken_rules.split(", ")) for broken_rules in bad["rules"]]
    assert rules == [
        {"rating|max"},
        {"item_id|nullability", "rating|dtype", "timestamp|nullability"},
        {"timestamp_in_future"},
    ]
    assert '"rating": "9"' in bad["data"][0]
    assert report.tables[0].reasons["rating|max"] == 1


def test_the_future_begins_after_the_slack(write_file: WriteFile, ingest_table: IngestTable) -> None:
    path = write_file("e.csv", EVENTS + "u,i,view,2024-06-01T05:59:00\nu,i,view,2024-06-01T06:01:00\n")
    report = ingest_table(events=path, settings=IngestSettings(max_bad_share=0.5, future_slack_hours=6))
    assert report.tables[0].reasons == {"timestamp_in_future": 1}


def test_too_many_bad_rows_stop_the_run_and_leave_the_lake_as_it_was(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(reviews=write_file("good.csv", REVIEWS + "r0,u,i,4,fine,2024-01-02\n"))
    before = Lake(workspace.lake).digest()
    lines = ["r1,u,i,4,fine,2024-01-02", "r2,u,i,9,nine,2024-01-02", "r3,u,i,0,zero,2024-01-02"]
    path = write_file("r.csv", REVIEWS + "\n".join(lines))
    with pytest.raises(DataError, match=r"reviews: 2 of 3 rows are bad \(66\.7%") as stopped:
        ingest_table(reviews=path, settings=IngestSettings(max_bad_share=0.5))
    for part in ("rating|max 1", "rating|min 1", f"row 2 of {path}", '"rating": "9"', str(workspace.quarantine)):
        assert part in str(stopped.value)
    assert Lake(workspace.lake).digest() == before
    assert not (workspace.lake / "staging").exists()


def test_of_a_product_the_newest_row_of_a_file_wins_and_a_later_file_whatever_its_date(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    def title() -> str:
        return str(Lake(workspace.lake).scan("catalog").collect()["title"].item())

    header = "item_id,title,updated_at\n"
    assert counts(ingest_table(catalog=write_file("1.csv", header + "i,first,\n"))) == (1, 1, 0, 0, 0)
    assert counts(ingest_table(catalog=write_file("2.csv", header + "i,second,\n"))) == (1, 0, 1, 0, 0)
    assert title() == "second"
    report = ingest_table(catalog=write_file("3.csv", header + "i,new,2024-02-01\ni,old,2024-01-01\n"))
    assert counts(report) == (2, 0, 1, 0, 0)
    assert (report.tables[0].n_older, report.tables[0].n_same_item) == (1, 0)
    assert title() == "new"
    assert counts(ingest_table(catalog=write_file("4.csv", header + "i,later,2024-01-15\n"))) == (1, 0, 1, 0, 0)
    assert title() == "later"


def test_a_review_that_comes_with_another_month_leaves_the_old_one(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    old, edited = "r1,u,i,4,fine,2024-01-02\n", "r1,u,i,2,broke,2024-03-02\n"
    ingest_table(reviews=write_file("1.csv", REVIEWS + old + "r2,v,i,5,good,2024-01-05\n"))
    assert counts(ingest_table(reviews=write_file("2.csv", REVIEWS + edited))) == (1, 0, 1, 0, 0)
    rows = Lake(workspace.lake).scan("reviews").sort("review_id").collect()
    assert rows["text"].to_list() == ["broke", "good"]
    assert counts(ingest_table(reviews=write_file("1.csv", REVIEWS + old))) == (1, 0, 1, 0, 0)
    rows = Lake(workspace.lake).scan("reviews").sort("review_id").collect()
    assert rows["text"].to_list() == ["fine", "good"]
    report = ingest_table(reviews=write_file("3.csv", REVIEWS + old + edited))
    assert (counts(report), report.tables[0].n_older) == ((2, 0, 1, 0, 0), 1)


def test_columns_are_mapped_and_constants_set(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    path = write_file("e.csv", "uid,asin,timestamp\nu,b,1393545600\n")
    named = {"events.user_id": "uid", "events.item_id": "asin"}
    ingest_table(events=path, columns=named, constants={"events.event_type": "purchase"})
    row = Lake(workspace.lake).scan("events").collect().row(0, named=True)
    assert (row["user_id"], row["item_id"], row["event_type"]) == ("u", "b", "purchase")


def test_a_crash_between_merge_and_commit_leaves_the_lake_as_it_was(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_table(events=write_file("1.csv", EVENTS + "u,i,view,2024-01-02\n"))
    before = Lake(workspace.lake).digest()

    def crash(*_: object) -> None:
        raise RuntimeError("power cut")

    second = write_file("2.csv", EVENTS + "u,j,view,2024-01-02\n")
    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(Lake, "commit", crash)
        ingest_table(events=second)
    assert Lake(workspace.lake).digest() == before
    assert Lake(workspace.lake).scan("events").collect()["item_id"].to_list() == ["i"]
    assert counts(ingest_table(events=second)) == (1, 1, 0, 0, 0)


def test_only_new_and_changed_files_of_a_remembered_pattern_are_taken(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable, tmp_path: Path
) -> None:
    write_file("day1.csv", EVENTS + "u,i,view,2024-01-01\n")
    ingest_table(events=tmp_path / "day*.csv")
    assert ingest_new(workspace, IngestSettings(), NOW) is None
    write_file("day2.csv", EVENTS + "u,i,view,2024-01-02\n")
    write_file("day3.csv", EVENTS)
    report = ingest_new(workspace, IngestSettings(), NOW)
    assert report is not None
    assert counts(report) == (1, 1, 0, 0, 0)
    write_file("day1.csv", EVENTS + "u,i,view,2024-01-01\nu,j,view,2024-01-01\n")
    changed = ingest_new(workspace, IngestSettings(), NOW)
    assert changed is not None
    assert counts(changed) == (2, 1, 0, 1, 0)
    assert ingest_new(workspace, IngestSettings(), NOW) is None


def test_a_remembered_file_that_has_vanished_is_no_error(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    path = write_file("e.csv", EVENTS + "u,i,view,2024-01-01\n")
    ingest_table(events=path)
    path.unlink()
    assert ingest_new(workspace, IngestSettings(), NOW) is None


def test_a_workspace_without_sources_has_nothing_new(workspace: Workspace) -> None:
    assert ingest_new(workspace, IngestSettings(), NOW) is None
    assert not workspace.root.exists()


def test_a_renamed_copy_is_known_by_its_content(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable, tmp_path: Path
) -> None:
    path = write_file("day1.csv", EVENTS + "u,i,view,2024-01-01\n")
    ingest_table(events=tmp_path / "day*.csv")
    path.rename(tmp_path / "day9.csv")
    assert ingest_new(workspace, IngestSettings(), NOW) is None


def test_sources_are_not_remembered_when_the_run_is_refused(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    with pytest.raises(DataError):
        ingest_table(events=write_file("e.csv", EVENTS + "u,,view,2024-01-01\n"))
    assert jobs.ingest.files.load_seen(workspace.lake) == []


def test_a_file_is_hashed_once_per_run(
    workspace: Workspace,
    write_file: WriteFile,
    ingest_table: IngestTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[str] = []

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(jobs.ingest.seen_files, "sha256_of", counted)
    write_file("day1.csv", EVENTS + "u,i,view,2024-01-01\n")
    ingest_table(events=tmp_path / "day*.csv")
    assert hashed == ["day1.csv"]
    write_file("day2.csv", EVENTS + "u,i,view,2024-01-02\n")
    assert ingest_new(workspace, IngestSettings(), NOW) is not None
    assert hashed == ["day1.csv", "day2.csv"]


def test_sources_and_offsets_of_an_earlier_version_are_read(workspace: Workspace) -> None:
    workspace.lake.mkdir(parents=True)
    spec = {"source": "table", "paths": {"events": ["/shop/*.csv"]}, "columns": {"events.item_id": "asin"}}
    file = {"path": "/shop/a.csv", "size_bytes": 3, "mtime_ns": 4, "digest": "ab"}
    content = {"version": 1, "sources": [{"spec": spec | {"constants": {}}, "files": [file]}]}
    (workspace.lake / "sources.json").write_text(json.dumps(content))
    (seen,) = load_seen(workspace.lake)
    assert seen.spec == SourceSpec("table", {"events": ("/shop/*.csv",)}, {"events.item_id": "asin"})
    assert seen.files == (TakenFile("/shop/a.csv", 3, 4, "ab"),)
    for file_of, name in ((EVENTS_READ, "event_seq"), (ITEMS_READ, "item_version")):
        (workspace.lake / file_of.file.name).write_text(json.dumps({"version": 1, "database_id": "d", name: 7}))
        assert (file_of.read(workspace.lake, "d"), file_of.read(workspace.lake, "other")) == (7, 0)
        file_of.write(workspace.lake, "d", 8)
        assert json.loads((workspace.lake / file_of.file.name).read_text())[name] == 8


def test_the_lines_of_an_order_under_one_id_are_all_kept(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    header = "event_id,user_id,item_id,event_type,timestamp\n"
    first = (
        header + "o1,ann,boot,purchase,2024-01-02\no1,ann,coat,purchase,2024-01-02\no2,bob,rug,purchase,2024-01-02\n"
    )
    report = ingest_table(events=write_file("1.csv", first))
    assert (counts(report), report.tables[0].n_shared_ids) == ((3, 3, 0, 0, 0), 1)
    again = header + "o1,ann,coat,purchase,2024-01-02\no1,ann,lamp,purchase,2024-01-02\n"
    assert counts(ingest_table(events=write_file("2.csv", again))) == (2, 1, 0, 1, 0)
    rows = Lake(workspace.lake).scan("events").collect()
    assert sorted(rows["item_id"]) == ["boot", "coat", "lamp", "rug"]
    assert rows["event_id"].n_unique() == 4
    digest = Lake(workspace.lake).digest()
    ingest_table(events=workspace.root.parent / "1.csv")
    assert Lake(workspace.lake).digest() == digest
