"""Records of runs, and those that earlier versions wrote."""

import json
from datetime import UTC, datetime
from pathlib import Path

from jobs.nightly.record import REPORT, RunRecord, StepRun, read_runs, write_run
from jobs.nightly.step_records import INGESTED, LEARNED, LIVE, MOMENTS
from recsys.workspace import Workspace

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def test_a_run_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = workspace.runs / "night-20250601T120000Z"
    folder.mkdir(parents=True)
    step = {"name": "ingest", "status": "made", "key": "k", "seconds": 0.1, "peak_mb": 5.0, "counts": {"new rows": 0}}
    record = {"run_id": folder.name, "moment": NOON.isoformat(), "asked_as_of": None, "until": "publish", "anew": []}
    record |= {"status": "published", "release_id": "r1", "forced": True, "told": ["warning: x"], "error": ""}
    (folder / "run.json").write_text(json.dumps(record | {"steps": [step]}))
    (run,) = read_runs(workspace)
    assert run.messages == ["warning: x"]
    assert run.steps == [StepRun("ingest", "made", "k", 0.1, 5.0, {"new rows": 0})]
    write_run(workspace, run)
    assert read_runs(workspace) == [run]


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = RunRecord("run-1", NOON, None, "publish", ["fit"], messages=["a"], steps=[StepRun("fit")])
    write_run(Workspace(tmp_path), run)
    assert read_runs(Workspace(tmp_path)) == [run]


def test_a_report_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    content = {"as_of": NOON.isoformat(), "run_id": "night-1", "release_id": "r1", "published": True, "gate": "forced"}
    content |= {"metrics": {"fused": {"all": {"ndcg": 0.3}}}, "told": ["forced past the gate: quality"]}
    (tmp_path / "report.json").write_text(json.dumps(content))
    report = REPORT.read(tmp_path)
    assert report.forced and report.as_of == NOON and report.metrics["fused"]["all"]["ndcg"] == 0.3


def test_step_results_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    table = {"table": "events", "n_read": 10, "n_new": 7, "n_updated": 1, "n_duplicates": 0, "n_bad": 2}
    table |= {"reasons": {"rating|max": 2}, "n_erased": 0}
    moment = {name: NOON.isoformat() for name in ("as_of", "test_cut", "valid_cut")}
    made_from = {"key": "", "rules": "ab", "learned_at": NOON.isoformat(), "n_events": 5}
    for name, content in (
        ("arrivals.json", {"n_read": 10, "n_bad": 2, "tables": [table]}),
        ("moments.json", moment | {"lake": "cd"}),
        ("learned.json", {"made_from": made_from, "taken_from": "r1"}),
        ("live.json", {"database_id": "", "event_seq": 4, "item_version": 0}),
    ):
        (tmp_path / name).write_text(json.dumps(content))
    assert INGESTED.read(tmp_path).tables[0].reasons == {"rating|max": 2}
    assert MOMENTS.read(tmp_path).valid_cut == NOON
    assert (LEARNED.read(tmp_path).taken_from, LEARNED.read(tmp_path).made_from.rules) == ("r1", "ab")
    assert LIVE.read(tmp_path).event_seq == 4
