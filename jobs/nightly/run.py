"""The nightly run: new files and events -> embed -> learn -> evaluate on the last days -> fit -> publish."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any, Final

from features.encoder.selection import in_use, read_adopted
from features.store.store import Store
from features.workspace.erasure_receipt import note_release
from jobs.cluster.ray_cluster import LOCAL, cluster_address
from jobs.erase.run import erase_before_the_night
from jobs.gate.findings import GATE_FILE
from jobs.nightly.context import NightlyRun, Progress
from jobs.nightly.plan import Planned, plan
from jobs.nightly.preflight import check_room, disk_errors_told
from jobs.nightly.publish import forget_killed
from jobs.nightly.record import RunRecord, StepRun, new_run_id, read_runs, recorded, write_run
from jobs.nightly.remote import on_cluster
from jobs.nightly.report.page import write_night_report
from jobs.nightly.step_cache import Output, Step, key_of
from jobs.nightly.steps import DONE_NOW, NIGHT_STEPS, RELEASE_FILE
from jobs.nightly.verdicts import FORCED
from jobs.training.warm_start import forget_checkpoints
from recsys.config import Settings
from recsys.errors import ConfigError
from recsys.hardware import forget_peak_memory, peak_memory_mb
from recsys.workspace import Workspace

__all__ = ["Choice", "Progress", "Report", "dry_run_plan", "nightly"]

log = logging.getLogger(__name__)

KEPT_NIGHTS: Final = 2
"""Results of so many nights stay: with the last one's a run is resumed, or one that was rolled back is made again."""


@dataclass(frozen=True)
class Choice:
    """Which steps run: all of them, reusing what has not changed; `only` one, anew; `since` one, anew with all that
    follow. resume: go on with the last run, where it did not end well. force: checks and gate stop nothing."""

    only: str = ""
    since: str = ""
    resume: bool = False
    force: bool = False


@dataclass
class Report:
    """What one night did, as written to `runs/RELEASE_ID/report.json` where it published.

    published: whether a new release is live; release_id: the one that was made, now or, where nothing has changed,
    before; "" where the run ended earlier. taken_from: the release whose weights and ranker were taken over; reused:
    the steps whose earlier results were; resumed: whether an unfinished run was gone on with. gate: its verdict; told:
    warnings of checks and gate, and what was forced.
    """

    as_of: datetime
    run_id: str = ""
    release_id: str = ""
    published: bool = False
    resumed: bool = False
    taken_from: str = ""
    reused: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    gate: str = ""
    told: list[str] = field(default_factory=list)

    @property
    def forced(self) -> bool:
        """Whether checks or gate would have stopped it."""
        return any(line.startswith(FORCED) for line in self.told)


def nightly(
    workspace: Workspace,
    settings: Settings,
    as_of: datetime | None,
    now: datetime,
    progress: Progress,
    choice: Choice = Choice(),
) -> Report:
    """Publish a release of all that happened before `as_of`, by default up to the newest event that is not after `now`,
    unless the newest release was made of the very same.

    All its vectors are of one encoder: the one that was adopted in the place of the one in the settings, if any.
    Raises DataError where there is nothing to learn from, EncoderError where the encoder is missing or altered,
    RoomError where disk or memory do not suffice, HeldBackError where checks or gate do not let it pass, ClusterError
    where machines of the cluster that `RAY_ADDRESS` names were lost; the live release serves on whatever happens before
    the end.
    """
    _check(choice)
    store = Store(workspace)
    erase_before_the_night(workspace, settings, now, progress)
    with disk_errors_told(workspace.root), store.lease(now, settings.releases.lease_minutes):
        record = _record(workspace, as_of, now, choice)
        resumed = (workspace.runs / record.run_id).exists()
        forget_killed(workspace)
        try:
            with recorded(workspace, record), disk_errors_told(workspace.root):
                check_room(workspace.root, settings.nightly)
                report = _run(_night(workspace, settings, store, record, now, progress), record)
                report.resumed = resumed
                return report
        finally:
            write_night_report(workspace, record)


def dry_run_plan(
    workspace: Workspace, settings: Settings, as_of: datetime | None, now: datetime, choice: Choice = Choice()
) -> list[Planned]:
    """What `nightly` would do, by the lake as it stands. Nothing is written, and no lease is held."""
    _check(choice)
    record = _record(workspace, as_of, now, choice, looking=True)
    unasked: Progress = lambda *_: None  # noqa: E731
    return plan(_night(workspace, settings, Store(workspace), record, now, unasked), record.until)


def step_names() -> list[str]:
    return [step.name for step in NIGHT_STEPS]


def _check(choice: Choice) -> None:
    for option, name in (("--only", choice.only), ("--from", choice.since)):
        if name and name not in step_names():
            raise ConfigError(f"{option} {name}: no such step; choose one of {', '.join(step_names())}")
    if bool(choice.only) + bool(choice.since) + choice.resume > 1:
        raise ConfigError("--only, --from and --resume exclude each other; pass one of them")


def _record(
    workspace: Workspace, as_of: datetime | None, now: datetime, choice: Choice, *, looking: bool = False
) -> RunRecord:
    """A new record, or that of the run that is resumed; those that were killed say so from now on."""
    runs = read_runs(workspace)
    last = runs[-1] if runs else None
    if choice.resume and last and not last.done:
        log.info("night resumed run=%s status=%s", last.run_id, last.status)
        last.forced = choice.force
        return last
    if choice.resume:
        log.warning("no unfinished run to resume; a new one starts")
    for run in () if looking else runs:
        if run.status == "running":
            run.status, run.error = "failed", "killed"
            write_run(workspace, run)
            write_night_report(workspace, run)
    names = step_names()
    anew = [choice.only] if choice.only else names[names.index(choice.since) :] if choice.since else []
    return RunRecord(new_run_id(workspace, now), now, as_of, choice.only or names[-1], anew, forced=choice.force)


def _night(
    workspace: Workspace, settings: Settings, store: Store, record: RunRecord, now: datetime, progress: Progress
) -> NightlyRun:
    adopted = read_adopted(workspace, settings.encoder.model)
    settings = settings.model_copy(update={"encoder": in_use(settings.encoder, adopted)})
    made = {step.name for step in record.steps if step.status == "made"}
    return NightlyRun(
        workspace=workspace,
        settings=settings,
        adopted=adopted,
        store=store,
        run_id=record.run_id,
        asked_as_of=record.asked_as_of,
        moment=record.moment,
        now=now,
        anew=frozenset(record.anew) - made,
        progress=progress,
        forced=record.forced,
    )


def _run(night: NightlyRun, record: RunRecord) -> Report:
    report = Report(night.asked_as_of or night.moment, record.run_id)
    before = {manifest.release_id for manifest in night.store.releases()}
    with on_cluster(NIGHT_STEPS) if cluster_address() != LOCAL else nullcontext(NIGHT_STEPS) as steps:
        for step in steps:
            with _step(night, record, step.name) as told:
                output = _made_or_kept(night, step, told)
            night.outputs[step.name] = output
            record.told = night.told
            report.counts |= told.counts
            report.seconds[step.name] = told.seconds
            report.reused += [step.name] if told.status == "reused" else []
            if step.name == record.until:
                break
    if "read" in night.outputs:
        report.as_of = night.moments.as_of
    if "learn" in night.outputs:
        report.taken_from = night.taken_from
    if "evaluate" in night.outputs:
        report.metrics = night.metrics
    report.told = night.told
    if "gate" in night.outputs:
        report.gate = json.loads((night.made("gate") / GATE_FILE).read_text())["outcome"]
    if "publish" in night.outputs:
        report.release_id = json.loads((night.made("publish") / RELEASE_FILE).read_text())["release_id"]
        report.published = report.release_id not in before
        _tidy(night, record)
    record.release_id = report.release_id
    record.status = "published" if report.published else "finished"
    if report.published:
        note_release(night.workspace, report.release_id)
        _write(night.workspace, report)
    return report


@contextmanager
def _step(night: NightlyRun, record: RunRecord, name: str) -> Iterator[StepRun]:
    """Times the step, notes how much memory it took, and tells the progress of the run."""
    told = record.step(name)
    write_run(night.workspace, record)
    night.progress(name, 0, 1)
    forget_peak_memory()
    night.peak_mb = None
    started = monotonic()
    try:
        yield told
    finally:
        told.seconds = round(monotonic() - started, 2)
        told.peak_mb = round(peak_memory_mb() if night.peak_mb is None else night.peak_mb)
    log.info("step %s step=%s seconds=%.1f peak_mb=%.0f", told.status, name, told.seconds, told.peak_mb)
    write_run(night.workspace, record)
    night.progress(name, 1, 1)


def _made_or_kept(night: NightlyRun, step: Step[NightlyRun], told: StepRun) -> Output:
    inputs = step.inputs(night, night.outputs, night.settings)
    told.key = key_of(step.name, inputs)
    output = None if step.name in night.anew else night.kept.find(step.name, told.key)
    if output is not None and step.holds(night, told.key):
        told.status, told.counts = "reused", {name: n for name, n in output.counts.items() if name not in DONE_NOW}
    else:
        output = night.kept.make(step, night, inputs)
        told.status, told.counts = "made", output.counts
    return output


def _tidy(night: NightlyRun, record: RunRecord) -> None:
    """What the run no longer needs goes: results that are older than the last nights', checkpoints of training."""
    others = [run for run in read_runs(night.workspace) if run.done and run.run_id != record.run_id]
    keys = record.keys.union(*(run.keys for run in others[-(KEPT_NIGHTS - 1) :]))
    night.kept.remove_all_but(keys)
    forget_checkpoints(night.workspace.training)


def _write(workspace: Workspace, report: Report) -> None:
    folder = workspace.runs / report.release_id
    folder.mkdir(parents=True, exist_ok=True)
    content = asdict(report) | {"as_of": report.as_of.isoformat()}
    (folder / "report.json").write_text(json.dumps(content, indent=2))
