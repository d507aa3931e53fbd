"""The nightly run: ingest -> read -> check -> embed -> quotes -> learn -> evaluate -> fit -> gate -> publish."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final

from features.encoder.selection import effective_settings, read_selected, resolve_path
from features.store.store import Store
from features.workspace.erasure_receipt import note_release
from jobs.cluster.ray_cluster import LOCAL, cluster_address
from jobs.erase.run import erase_before_run
from jobs.gate.records import GATE
from jobs.nightly.context import NightlyRun, Progress
from jobs.nightly.plan import Planned, plan
from jobs.nightly.preflight import check_room, plain_disk_errors
from jobs.nightly.publish import remove_staging
from jobs.nightly.record import REPORT, Report, RunRecord, StepRun, new_run_id, read_runs, recorded, write_run
from jobs.nightly.remote import on_cluster
from jobs.nightly.report.page import write_report
from jobs.nightly.step_cache import Output, Step, key_of
from jobs.nightly.step_records import RELEASE
from jobs.nightly.steps import STEPS, WORK_COUNTS
from jobs.training.warm_start import forget_checkpoints
from recsys.config import Settings
from recsys.errors import ConfigError
from recsys.hardware import forget_peak_memory, peak_memory_mb
from recsys.workspace import Workspace

__all__ = ["Choice", "Progress", "Report", "dry_run_plan", "nightly"]

log = logging.getLogger(__name__)

CACHED_RUNS: Final = 2
"""Step results of so many runs stay, so that a run can be resumed, or repeated after a rollback, without work."""


@dataclass(frozen=True)
class Choice:
    """Which steps run. By default all, reusing results whose inputs have not changed. only: this step alone, without
    reuse; since: this step and all after it, without reuse; resume: continue the last run where it did not finish;
    force: checks and gate stop nothing."""

    only: str = ""
    since: str = ""
    resume: bool = False
    force: bool = False


def nightly(
    workspace: Workspace,
    settings: Settings,
    as_of: datetime | None,
    now: datetime,
    progress: Progress,
    choice: Choice = Choice(),
) -> Report:
    """Publish a release of all data before `as_of`, by default up to the newest event that is not after `now`, unless
    the newest release was built from the same inputs.

    All its vectors are of one encoder: the selected one, or else that of the settings. Raises DataError where there is
    nothing to learn from, EncoderError where the encoder is missing or altered, ResourceError where disk or memory do
    not suffice, GateError where checks or gate stop it, ClusterError where machines of the cluster that `RAY_ADDRESS`
    names were lost. After any error the live release stays live.
    """
    _check(choice)
    store = Store(workspace)
    erase_before_run(workspace, settings, now, progress)
    with plain_disk_errors(workspace.root), store.lease(now, settings.releases.lease_minutes):
        record = _record(workspace, as_of, now, choice)
        resumed = (workspace.runs / record.run_id).exists()
        remove_staging(workspace)
        try:
            with recorded(workspace, record), plain_disk_errors(workspace.root):
                check_room(workspace.root, settings.nightly)
                report = _run_steps(_nightly_run(workspace, settings, store, record, now, progress), record)
                report.resumed = resumed
                return report
        finally:
            write_report(workspace, record)


def dry_run_plan(
    workspace: Workspace, settings: Settings, as_of: datetime | None, now: datetime, choice: Choice = Choice()
) -> list[Planned]:
    """What `nightly` would do with the current lake. Writes nothing and takes no lease."""
    _check(choice)
    record = _record(workspace, as_of, now, choice, dry_run=True)
    no_progress: Progress = lambda *_: None  # noqa: E731
    return plan(_nightly_run(workspace, settings, Store(workspace), record, now, no_progress), record.until)


def step_names() -> list[str]:
    return [step.name for step in STEPS]


def _check(choice: Choice) -> None:
    for option, name in (("--only", choice.only), ("--from", choice.since)):
        if name and name not in step_names():
            raise ConfigError(f"{option} {name}: no such step; choose one of {', '.join(step_names())}")
    if bool(choice.only) + bool(choice.since) + choice.resume > 1:
        raise ConfigError("--only, --from and --resume exclude each other; pass one of them")


def _record(
    workspace: Workspace, as_of: datetime | None, now: datetime, choice: Choice, *, dry_run: bool = False
) -> RunRecord:
    """A new record, or that of the run that is resumed. Killed runs are marked as failed."""
    runs = read_runs(workspace)
    last = runs[-1] if runs else None
    if choice.resume and last and not last.done:
        log.info("run_resumed run=%s status=%s", last.run_id, last.status)
        last.forced = choice.force
        return last
    if choice.resume:
        log.warning("no_unfinished_run action=start a new run")
    for run in () if dry_run else runs:
        if run.status == "running":
            run.status, run.error = "failed", "killed"
            write_run(workspace, run)
            write_report(workspace, run)
    names = step_names()
    anew = [choice.only] if choice.only else names[names.index(choice.since) :] if choice.since else []
    return RunRecord(new_run_id(workspace, now), now, as_of, choice.only or names[-1], anew, forced=choice.force)


def _nightly_run(
    workspace: Workspace, settings: Settings, store: Store, record: RunRecord, now: datetime, progress: Progress
) -> NightlyRun:
    adopted = read_selected(workspace, settings.encoder.model)
    settings = settings.model_copy(update={"encoder": effective_settings(settings.encoder, adopted)})
    finished = {step.name for step in record.steps if step.status == "made"}
    return NightlyRun(
        workspace=workspace,
        settings=settings,
        encoder=resolve_path(workspace, settings.encoder),
        adopted=adopted,
        store=store,
        run_id=record.run_id,
        asked_as_of=record.asked_as_of,
        moment=record.moment,
        now=now,
        anew=frozenset(record.anew) - finished,
        progress=progress,
        forced=record.forced,
    )


def _run_steps(run: NightlyRun, record: RunRecord) -> Report:
    report = Report(run.asked_as_of or run.moment, record.run_id)
    before = {manifest.release_id for manifest in run.store.releases()}
    with on_cluster(STEPS) if cluster_address() != LOCAL else nullcontext(STEPS) as steps:
        for step in steps:
            with _step(run, record, step.name) as step_run:
                output = _run_or_reuse(run, step, step_run)
            run.outputs[step.name] = output
            record.messages = run.messages
            report.counts |= step_run.counts
            report.seconds[step.name] = step_run.seconds
            report.reused += [step.name] if step_run.status == "reused" else []
            if step.name == record.until:
                break
    if "read" in run.outputs:
        report.as_of = run.moments.as_of
    if "learn" in run.outputs:
        report.taken_from = run.taken_from
    if "evaluate" in run.outputs:
        report.metrics = run.metrics
    report.messages = run.messages
    if "gate" in run.outputs:
        report.gate = GATE.read(run.output_folder("gate")).outcome
    if "publish" in run.outputs:
        report.release_id = RELEASE.read(run.output_folder("publish")).release_id
        report.published = report.release_id not in before
        _tidy(run, record)
    record.release_id = report.release_id
    record.status = "published" if report.published else "finished"
    if report.published:
        note_release(run.workspace, report.release_id)
        folder = run.workspace.runs / report.release_id
        folder.mkdir(parents=True, exist_ok=True)
        REPORT.write(folder, report)
    return report


@contextmanager
def _step(run: NightlyRun, record: RunRecord, name: str) -> Iterator[StepRun]:
    """Records time and peak memory of the step, and reports the progress of the run."""
    step_run = record.step(name)
    write_run(run.workspace, record)
    run.progress(name, 0, 1)
    forget_peak_memory()
    run.peak_mb = None
    started = monotonic()
    try:
        yield step_run
    finally:
        step_run.seconds = round(monotonic() - started, 2)
        step_run.peak_mb = round(peak_memory_mb() if run.peak_mb is None else run.peak_mb)
    log.info(
        "step_ended step=%s status=%s seconds=%.1f peak_mb=%.0f",
        *(name, step_run.status, step_run.seconds, step_run.peak_mb),
    )
    write_run(run.workspace, record)
    run.progress(name, 1, 1)


def _run_or_reuse(run: NightlyRun, step: Step[NightlyRun], record: StepRun) -> Output:
    inputs = step.inputs(run, run.outputs, run.settings)
    record.key = key_of(step.name, inputs)
    output = None if step.name in run.anew else run.cache.find(step.name, record.key)
    if output is not None and step.holds(run, record.key):
        record.status = "reused"
        record.counts = {name: n for name, n in output.counts.items() if name not in WORK_COUNTS}
    else:
        output = run.cache.make(step, run, inputs)
        record.status, record.counts = "made", output.counts
    return output


def _tidy(run: NightlyRun, record: RunRecord) -> None:
    """Remove the step results of older runs, and the checkpoints of training."""
    others = [other for other in read_runs(run.workspace) if other.done and other.run_id != record.run_id]
    keys = record.keys.union(*(other.keys for other in others[-(CACHED_RUNS - 1) :]))
    run.cache.remove_all_but(keys)
    forget_checkpoints(run.workspace.training)
