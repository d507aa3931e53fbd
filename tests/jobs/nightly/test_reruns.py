"""Runs after the first: what is reused, resumed, planned, refused and recorded."""

import errno
import json
import logging
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import NIGHT, PublishedShop

import jobs.nightly.run
import jobs.nightly.steps
from features.encoder.selection import resolve_path
from features.store.store import Store
from jobs.nightly.plan import Planned
from jobs.nightly.record import LOG_FILE, RunRecord, read_runs, write_run
from jobs.nightly.reuse import TRIAL
from jobs.nightly.run import Choice, Report, dry_run_plan, nightly
from jobs.nightly.steps import STEPS
from jobs.training.evaluate import evaluate
from recsys.config import EncoderSettings, Settings
from recsys.errors import ConfigError, ResourceError, StoreError
from recsys.model import Model
from recsys.workspace import Workspace

NAMES = [step.name for step in STEPS]
WHOLE = Choice()
LATER = NIGHT + timedelta(days=1)


@pytest.fixture
def workspace(published_shop: PublishedShop, tmp_path: Path) -> Workspace:
    """The shop after its first run, with the results of its steps."""
    copied = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, copied.root)
    return copied


@pytest.fixture
def another(workspace: Workspace, published_shop: PublishedShop) -> Callable[..., Report]:
    """Another run a day later; settings are changed by section."""

    def run(choice: Choice = WHOLE, **sections: Any) -> Report:
        return nightly(workspace, changed(published_shop.settings, **sections), None, LATER, lambda *_: None, choice)

    return run


def changed(settings: Settings, **sections: Any) -> Settings:
    tree = settings.model_dump()
    return Settings.model_validate(tree | {name: tree[name] | values for name, values in sections.items()})


CACHED = [name for name in NAMES if name not in ("ingest", "check", "gate")]
"""Of the steps whose results hang on neither the run nor the served release."""


def stop_here(*_: Any) -> None:
    raise StoreError("stop here")


def last_run(workspace: Workspace) -> RunRecord:
    return read_runs(workspace)[-1]


def test_without_changes_nothing_runs_and_nothing_is_published(
    published_shop: PublishedShop, workspace: Workspace, another: Callable[..., Report]
) -> None:
    report = another()
    assert report.reused == CACHED  # only a look at what came in, and whether it may be published
    assert (report.published, report.release_id) == (False, published_shop.report.release_id)
    assert report.metrics == published_shop.report.metrics
    assert len(Store(workspace).releases()) == 1
    assert last_run(workspace).status == "finished"


def test_a_release_is_not_published_twice_though_its_step_is_forgotten(
    published_shop: PublishedShop, workspace: Workspace, another: Callable[..., Report]
) -> None:
    """As after a kill between the publish and the note of it."""
    shutil.rmtree(workspace.steps / "publish")
    report = another()
    assert (report.published, report.release_id) == (False, published_shop.report.release_id)


def test_a_damaged_newest_release_is_published_again(
    workspace: Workspace, another: Callable[..., Report], caplog: pytest.LogCaptureFixture
) -> None:
    file = Store(workspace).open().model_dir / "trend.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    report = another()
    assert report.published and report.reused == CACHED[:-1]
    assert "newest_release_damaged" in caplog.text
    assert Store(workspace).open().release_id == report.release_id


def test_a_setting_makes_only_what_reads_it_anew(workspace: Workspace, another: Callable[..., Report]) -> None:
    report = another(complements={"per_item": 7})
    assert report.reused == CACHED[:-1]
    assert report.published
    assert Store(workspace).current_id() == report.release_id


def test_the_trial_model_of_the_served_release_stays_and_older_ones_go(
    published_shop: PublishedShop, workspace: Workspace, another: Callable[..., Report]
) -> None:
    first = published_shop.report.release_id
    second = another(complements={"per_item": 7}).release_id
    third = another(complements={"per_item": 8}).release_id
    with_trial = {folder.parent.name for folder in workspace.runs.glob(f"*/{TRIAL}")}
    assert with_trial == {second, third} and first not in with_trial
    trial = Model.load(workspace.runs / third / TRIAL)
    assert trial.popularity.sum() < Model.load(Store(workspace).open().model_dir).popularity.sum()


def test_old_results_go_after_the_next_runs(workspace: Workspace, another: Callable[..., Report]) -> None:
    for per_item in (7, 8, 9):
        another(complements={"per_item": per_item})
    assert len(list((workspace.steps / "publish").iterdir())) == 2


def test_a_run_that_failed_says_so_and_the_next_goes_on_with_it(
    workspace: Workspace, another: Callable[..., Report], monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patch, pytest.raises(StoreError, match="stop here"):
        patch.setattr(jobs.nightly.steps, "evaluate", stop_here)
        another(Choice(since="evaluate"))
    failed = last_run(workspace)
    assert (failed.status, failed.error, failed.steps[-1].name) == ("failed", "stop here", "evaluate")
    assert "stop here" in (workspace.runs / failed.run_id / LOG_FILE).read_text()
    measured = []

    def evaluate_and_tell(*arguments: Any) -> Any:
        measured.append(1)
        return evaluate(*arguments)

    monkeypatch.setattr(jobs.nightly.steps, "evaluate", evaluate_and_tell)
    report = another(Choice(resume=True))
    assert report.resumed and report.run_id == failed.run_id
    assert measured  # it was asked for anew, and had not come so far
    assert {"ingest", "read", "learn"} <= set(report.reused)
    assert last_run(workspace).status == "published"


def test_a_resumed_run_keeps_the_moment_it_began_with(
    workspace: Workspace, published_shop: PublishedShop, another: Callable[..., Report], monkeypatch
) -> None:
    as_of = published_shop.report.as_of - timedelta(days=2)
    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(jobs.nightly.steps, "load_encoder", stop_here)
        nightly(workspace, published_shop.settings, as_of, LATER, lambda *_: None)
    report = another(Choice(only="read"))  # a run of its own, of all there is
    assert report.as_of == published_shop.report.as_of
    stale = read_runs(workspace)[-2]
    shutil.rmtree(workspace.runs / report.run_id)
    monkeypatch.setattr(jobs.nightly.steps, "load_encoder", stop_here)
    with pytest.raises(StoreError, match="stop here"):
        another(Choice(resume=True))
    assert last_run(workspace).run_id == stale.run_id
    assert last_run(workspace).asked_as_of == as_of


def test_without_an_unfinished_run_a_new_one_starts(
    workspace: Workspace, another: Callable[..., Report], caplog: pytest.LogCaptureFixture
) -> None:
    report = another(Choice(resume=True))
    assert not report.resumed
    assert "no_unfinished_run" in caplog.text


def test_a_killed_run_is_marked_by_the_next(workspace: Workspace, another: Callable[..., Report]) -> None:
    write_run(workspace, RunRecord("run-killed", NIGHT + timedelta(hours=1), None, "publish", []))
    another()
    killed = next(run for run in read_runs(workspace) if run.run_id == "run-killed")
    assert (killed.status, killed.error) == ("failed", "killed")


def test_one_step_is_made_alone(workspace: Workspace, another: Callable[..., Report]) -> None:
    before = Store(workspace).current_id()
    report = another(Choice(only="quotes"))
    assert list(report.seconds) == NAMES[: NAMES.index("quotes") + 1]
    assert report.reused == ["read", "embed"]
    assert (report.published, report.release_id, report.metrics) == (False, "", {})
    assert Store(workspace).current_id() == before


def test_a_requested_publish_happens_without_changes(workspace: Workspace, another: Callable[..., Report]) -> None:
    report = another(Choice(since="publish"))
    assert report.published
    assert len(Store(workspace).releases()) == 2


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(only="embedd"), "--only embedd: no such step; choose one of ingest, read, check, embed"),
        (Choice(since="train"), "--from train: no such step"),
        (Choice(only="read", resume=True), "exclude each other"),
    ],
)
def test_an_invalid_choice_is_refused(choice: Choice, message: str, another: Callable[..., Report]) -> None:
    with pytest.raises(ConfigError, match=message):
        another(choice)


def planned(shop: PublishedShop, workspace: Workspace, choice: Choice = WHOLE, **sections: Any) -> list[Planned]:
    return dry_run_plan(workspace, changed(shop.settings, **sections), None, LATER, choice)


def test_a_dry_run_says_what_would_run_and_why_and_writes_nothing(
    published_shop: PublishedShop, workspace: Workspace
) -> None:
    def everything() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*")}

    before = everything()
    unchanged = planned(published_shop, workspace)
    assert [step.step for step in unchanged if step.verdict == "reuse"] == CACHED
    assert [step.step for step in unchanged if step.verdict == "run"] == ["ingest", "check", "gate"]
    assert all(step.seconds is not None for step in unchanged)
    plan_of = {
        step.step: (step.verdict, step.why) for step in planned(published_shop, workspace, text={"token_budget": 64})
    }
    assert plan_of["read"][0] == "reuse"
    assert plan_of["embed"] == ("run", "changed: settings text")
    assert plan_of["learn"] == ("run", "after embed")
    assert everything() == before


def test_the_encoder_of_a_run_is_resolved_once_and_handed_to_its_steps(
    workspace: Workspace, another: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[EncoderSettings] = []

    def counted(place: Workspace, settings: EncoderSettings) -> EncoderSettings:
        calls.append(settings)
        return resolve_path(place, settings)

    monkeypatch.setattr(jobs.nightly.run, "resolve_path", counted)
    another(Choice(since="embed"))
    assert len(calls) == 1


def test_a_dry_run_knows_the_requested_steps(published_shop: PublishedShop, workspace: Workspace) -> None:
    plan_of = {step.step: step for step in planned(published_shop, workspace, Choice(only="quotes"))}
    assert (plan_of["embed"].verdict, plan_of["quotes"].verdict, plan_of["learn"].verdict) == ("reuse", "run", "skip")
    assert plan_of["quotes"].why == "requested"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("free_disk_mb", r"MiB of disk free, a nightly run needs 1,000,000,000 MiB \(nightly\.free_disk_mb\)"),
        ("free_memory_mb", r"MiB of memory free, a nightly run needs 1,000,000,000 MiB \(nightly\.free_memory_mb\)"),
    ],
)
def test_a_machine_without_room_is_refused_first(
    setting: str, message: str, workspace: Workspace, another: Callable[..., Report]
) -> None:
    with pytest.raises(ResourceError, match=message):
        another(nightly={setting: 10**9})
    assert (last_run(workspace).status, last_run(workspace).steps) == ("failed", [])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "items.lance"), "no space left (items.lance)"),
        (RuntimeError("lance error: LanceError(IO): No space left on device (os error 28), here"), "no space left"),
        (OSError("30720 requested and 15328 written"), "no space left"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only file system"),
    ],
)
def test_a_full_or_read_only_disk_is_one_line_and_no_data_is_lost(
    error: Exception, message: str, workspace: Workspace, another: Callable[..., Report], monkeypatch
) -> None:
    before = Store(workspace).current_id()

    def full(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch, pytest.raises(ResourceError) as caught:
        patch.setattr(jobs.nightly.steps, "publish", full)
        another(complements={"per_item": 7})
    assert f"{workspace.root}: {message}; no data was lost" in str(caught.value)
    assert Store(workspace).open().release_id == before
    assert (last_run(workspace).status, last_run(workspace).error) == ("failed", str(caught.value))
    report = another(Choice(resume=True), complements={"per_item": 7})
    assert report.published and report.reused == NAMES[:-1]


def test_the_record_names_every_step_with_what_it_took(published_shop: PublishedShop) -> None:
    (record,) = read_runs(published_shop.workspace)
    assert [step.name for step in record.steps] == NAMES
    assert {step.status for step in record.steps} == {"made"}
    assert all(step.key and step.peak_mb > 0 for step in record.steps)
    assert (record.status, record.release_id) == ("published", published_shop.report.release_id)
    written = json.loads((published_shop.workspace.runs / record.run_id / "run.json").read_text())
    assert written["steps"][0]["name"] == "ingest"
