"""The steps that may stop a nightly run: the checks of its new data, and the gate before its release."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl

from features.store.release import LoadedRelease, load_release
from features.workspace.record_file import RecordFile
from features.workspace.training_curves import TRAINING_FILE
from jobs.gate.coverage_check import check_coverage, refuse_without_matches
from jobs.gate.data_checks import Arrivals, check_data
from jobs.gate.fairness import fairness_findings
from jobs.gate.findings import Finding, stops, warnings
from jobs.gate.quality import Comparison, compare, group_quality, trials, without_read
from jobs.gate.reading import reading_findings
from jobs.gate.records import CHECKS, GATE, ChecksRecord, GateRecord
from jobs.gate.release_gate import Verdict, judge
from jobs.gate.served_auc import ServedAuc, served_auc
from jobs.lake.snapshot import Shop
from jobs.nightly.context import NightlyRun
from jobs.nightly.new_data import checks_record, read_new_data
from jobs.nightly.record import FORCED, REPORT_FILE
from jobs.nightly.reuse import trial_folder
from jobs.nightly.step_cache import StepOutputWriter
from jobs.nightly.step_records import INGESTED
from jobs.training.fit import Inputs, recommender
from recsys.config import Settings
from recsys.errors import GateError, StoreError
from recsys.model import Model
from recsys.recommend import Recommender
from recsys.split import HeldOut, next_items

log = logging.getLogger(__name__)

Counts = dict[str, int]
R = TypeVar("R")


def check(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Compare the data since the served release with the days before, and its item ids with the catalogue.

    Raises GateError beyond a hard limit, and in any case where nothing happened with items of the catalogue.
    """
    settings, served_id = run.settings, run.store.current_id()
    if run.lake.n_rows("catalog") and run.shop.events.is_empty():
        refuse_without_matches(run.lake, run.as_of)
    data, findings = None, _robots(run.shop)
    if settings.checks.enabled and (served_id is None or not _is_known(run, served_id)):
        findings += check_coverage(run.lake, run.as_of, settings.ingest.min_matched_share)
        if served_id is not None:
            data = read_new_data(run.workspace, run.shop, run.as_of, _arrivals(run), settings)
    findings += check_data(data, settings.checks) if data else []
    record = checks_record(data, findings)
    record = replace(record, lake=run.moments.lake, last_ingest=run.lake.history.last_id, forced=run.forced)
    _write(run, draft, CHECKS, record)
    _warn_or_stop(run, "the data checks", findings)
    return {"data checks": len(findings), "warnings of data checks": len(warnings(findings))}


def _robots(shop: Shop) -> list[Finding]:
    """A warning that names the users who were taken for robots."""
    if shop.robots.is_empty():
        return []
    n_events = int(shop.robots["n_events"].sum())
    named = ", ".join(shop.robots.sort("n_events", descending=True)["user_id"].head(3))
    says = f"{n_events:,} events of {len(shop.robots):,} users are left out of learning, as from robots: {named}"
    remedy = "they have more than interactions.robot_events_per_day events on a day and no purchase"
    return [Finding("robots", float(len(shop.robots)), -math.inf, math.inf, "warning", says, remedy)]


def gate(run: NightlyRun, draft: StepOutputWriter) -> Counts:
    """Compare the candidate with the served release. Raises GateError where it must not replace it."""
    served_id = run.store.current_id()
    fit = run.outputs["fit"].digest
    verdict, trial_auc = Verdict(served_id, (), forced=run.forced), None
    is_served = served_id is not None and _gate_record(run, served_id).fit == fit
    if run.settings.gate.enabled and not is_served:
        verdict, trial_auc = _judged(run, served_id)
    _write(run, draft, GATE, verdict.record(fit, trial_auc))
    _warn_or_stop(run, "the gate", verdict.findings)
    return {"gate findings": len(verdict.findings), "warnings of the gate": len(warnings(verdict.findings))}


def store_verdicts(run: NightlyRun, release_id: str) -> None:
    """Copy them beside the release's report, for later runs, `recsys releases show` and notebooks."""
    folder = run.workspace.runs / release_id
    folder.mkdir(parents=True, exist_ok=True)
    for step, name in (("check", CHECKS.name), ("gate", GATE.name)):
        shutil.copyfile(run.output_folder(step) / name, folder / name)
    epochs = run.run_folder / TRAINING_FILE
    if epochs.exists():
        shutil.copyfile(epochs, folder / TRAINING_FILE)


def _is_known(run: NightlyRun, served_id: str) -> bool:
    """Whether the served release was built from the same lake: then there is no new data."""
    return _checks_record(run, served_id).lake == run.moments.lake


def _checks_record(run: NightlyRun, release_id: str) -> ChecksRecord:
    return CHECKS.find(run.workspace.runs / release_id) or ChecksRecord()


def _gate_record(run: NightlyRun, release_id: str) -> GateRecord:
    return GATE.find(run.workspace.runs / release_id) or GateRecord()


def _arrivals(run: NightlyRun) -> Arrivals:
    rows = INGESTED.read(run.output_folder("ingest"))
    before = run.store.open(verify=False).manifest
    behind, behind_before = run.moment - run.as_of, before.created_at - before.as_of
    hours = 0.0 if run.asked_as_of else (behind - behind_before).total_seconds() / 3600
    return Arrivals(rows.n_read, rows.n_bad, max(hours, 0.0))


def _judged(run: NightlyRun, served_id: str | None) -> tuple[Verdict, ServedAuc | None]:
    served, settings = load_release(run.workspace) if served_id else None, run.settings
    pair = _trials(run, served)
    later = run.shop.events.filter(pl.col("timestamp") >= run.moments.test_cut)
    trial_auc = served_auc(pair.candidate, later, settings.checks.served_auc_users, settings.seed)
    _, users = run.everybody
    candidate = recommender(run.inputs, run.model, users, settings)
    of_served = served.recommender if served else None
    verdict = judge(candidate, of_served, served_id, _compared(run, pair), settings.gate, settings.seed)
    findings, figures = fairness_findings(
        candidate, _group_quality(run, pair), run.as_of, settings.fairness, settings.seed
    )
    run.messages += [f"{finding.name}: {finding.says}" for finding in findings if finding.severity == "ok"]
    findings += reading_findings(run.reading, run.settings)
    verdict = replace(verdict, findings=(*verdict.findings, *findings), figures=verdict.figures | figures)
    return replace(verdict, forced=run.forced), trial_auc


@dataclass(frozen=True)
class _Trials:
    """The trials of the candidate and of the served release (None without one), and held-out data that neither has
    seen; known: the data before that."""

    candidate: Recommender
    served: Recommender | None
    known: Inputs
    held_out: HeldOut


def _trials(run: NightlyRun, served: LoadedRelease | None) -> _Trials:
    moments = run.moments
    known = run.inputs_before.before(moments.test_cut)
    model = _served_trial(run, served)
    is_same_encoder = served is None or served.manifest.encoder_id == run.embedded_with.id
    candidate, opponent = trials(known, run.trial, run.settings, model, _settings_of(served), is_same_encoder)
    held_out = run.held_out(moments.test_cut, moments.as_of)
    held_out = replace(held_out, targets=next_items(held_out.targets))
    return _Trials(candidate, opponent, known, held_out if is_same_encoder else without_read(held_out))


def _compared(run: NightlyRun, pair: _Trials) -> Comparison | None:
    if pair.served is None:
        return None
    settings, categories = run.settings, run.shop.items.select("item_id", "category")
    read_text = pair.known.read_text
    return compare(pair.candidate, pair.served, pair.held_out, read_text, categories, settings.gate, settings.seed)


def _group_quality(run: NightlyRun, pair: _Trials) -> dict[str, float]:
    """Computed only where its limit is set."""
    settings = run.settings
    if settings.fairness.min_worst_group <= 0:
        return {}
    return group_quality(pair.candidate, pair.held_out, pair.known.read_text, settings.gate, settings.seed)


def _settings_of(served: LoadedRelease | None) -> Settings | None:
    return served.catalogue.settings if served and served.catalogue else None


def _served_trial(run: NightlyRun, served: LoadedRelease | None) -> Model | None:
    """None where the served release has no trial: then quality is not compared."""
    if served is None:
        return None
    try:
        return Model.load(trial_folder(run.workspace, served.release_id))
    except StoreError as error:
        run.messages.append(f"quality not compared: release {served.release_id} has no trial model")
        log.warning("quality_not_compared reason=%s", error)
        return None


def _write(run: NightlyRun, draft: StepOutputWriter, file: RecordFile[R], record: R) -> None:
    """Into the step's result, and into the run's folder: a run that is held back has no step result."""
    file.write(draft.folder, record)
    run.run_folder.mkdir(parents=True, exist_ok=True)
    file.write(run.run_folder, record)


def _warn_or_stop(run: NightlyRun, who: str, findings: Sequence[Finding]) -> None:
    stopping = stops(findings)
    lines = [f"warning: {finding.line()}" for finding in warnings(findings)]
    if stopping and run.forced:
        lines += [f"{FORCED} {who}: {finding.line()}" for finding in stopping]
    run.messages += lines
    for line in lines:
        log.warning("run_warning %s", line)
    if stopping and not run.forced:
        more = f" (and {len(stopping) - 1} more)" if len(stopping) > 1 else ""
        served = run.store.current_id()
        stays = f"release {served} stays live" if served else "no release is live"
        details = f"all findings are in {run.run_folder / REPORT_FILE}"
        raise GateError(
            f"run held back by {who}: {stopping[0].line()}{more}; {stays}; {details}; {_undo_hint(run, served)}"
            "`recsys nightly --force` publishes anyway"
        )


def _undo_hint(run: NightlyRun, served_id: str | None) -> str:
    """How to undo the ingests since the served release; "" where none can be undone."""
    last_ingest = _checks_record(run, served_id).last_ingest if served_id else 0
    ids = run.lake.history.since(last_ingest)
    if not ids:
        return ""
    undo = f"recsys ingest undo {' '.join(map(str, ids))}"
    return f"`recsys ingest history` lists the ingests, `{undo}` undoes all since that release; "
