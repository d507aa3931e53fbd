"""The steps of a night that may end it: the checks of its new data, and the gate before its release."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from features.store.release import LoadedRelease, load_release
from features.workspace.training_curves import TRAINING_FILE
from jobs.gate.data_checks import Arrivals, Foresight, check_data
from jobs.gate.fairness import fairness_findings
from jobs.gate.findings import CHECKS_FILE, GATE_FILE, Finding, stops, warnings
from jobs.gate.quality import Comparison, compare, group_quality, trials, without_read
from jobs.gate.release_gate import Verdict, judge
from jobs.gate.served_auc import served_auc
from jobs.nightly.context import ARRIVALS_FILE, NightlyRun
from jobs.nightly.new_data import as_json, checks_record, read_new_data
from jobs.nightly.record import REPORT_FILE, read_record
from jobs.nightly.reuse import trial_folder
from jobs.nightly.step_cache import StepOutputWriter
from jobs.training.fit import Inputs, recommender
from recsys.config import Settings
from recsys.errors import GateError, StoreError
from recsys.model import Model
from recsys.recommend import Recommender
from recsys.split import HeldOut, next_items

log = logging.getLogger(__name__)

Counts = dict[str, int]

FORCED: Final = "forced past"
"""So begins what is told of a night that went on although it would have been stopped."""


def check(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """What is new since the served release, against the days before. Raises HeldBackError beyond a hard limit."""
    settings, served_id = night.settings, night.store.current_id()
    data = None
    if settings.checks.enabled and served_id is not None and not _is_known(night, served_id):
        data = read_new_data(night.workspace, night.shop, night.as_of, _arrivals(night), settings)
    findings = check_data(data, settings.checks) if data else []
    record = checks_record(data, findings) | {
        "lake": night.moments.lake,
        "last_ingest": night.lake.history.last_id,
        "forced": night.forced,
    }
    _write(night, draft, CHECKS_FILE, record)
    _tell_or_stop(night, "the data checks", findings)
    return {"data checks": len(findings), "warnings of data checks": len(warnings(findings))}


def gate(night: NightlyRun, draft: StepOutputWriter) -> Counts:
    """The candidate against the served release. Raises HeldBackError where it must not take its place."""
    served_id = night.store.current_id()
    made = night.outputs["fit"].digest
    verdict, foreseen = Verdict(served_id, (), forced=night.forced), None
    is_served = served_id is not None and read_record(night.workspace.runs / served_id / GATE_FILE).get("fit") == made
    if night.settings.gate.enabled and not is_served:
        verdict, foreseen = _judged(night, served_id)
    record = verdict.as_json() | {"fit": made, "trial_foresight": as_json(foreseen)}
    _write(night, draft, GATE_FILE, record)
    _tell_or_stop(night, "the gate", verdict.findings)
    return {"gate findings": len(verdict.findings), "warnings of the gate": len(warnings(verdict.findings))}


def keep_verdicts(night: NightlyRun, release_id: str) -> None:
    """Beside the report of the release: what later nights compare with, and what `recsys releases show` and notebooks
    tell."""
    folder = night.workspace.runs / release_id
    folder.mkdir(parents=True, exist_ok=True)
    for step, name in (("check", CHECKS_FILE), ("gate", GATE_FILE)):
        shutil.copyfile(night.made(step) / name, folder / name)
    epochs = night.run_folder / TRAINING_FILE
    if epochs.exists():
        shutil.copyfile(epochs, folder / TRAINING_FILE)


def _is_known(night: NightlyRun, served_id: str) -> bool:
    """Whether the served release was made of the very same lake: then nothing is new."""
    return bool(read_record(night.workspace.runs / served_id / CHECKS_FILE).get("lake") == night.moments.lake)


def _arrivals(night: NightlyRun) -> Arrivals:
    rows = json.loads((night.made("ingest") / ARRIVALS_FILE).read_text())
    before = night.store.open(verify=False).manifest
    behind, behind_before = night.moment - night.as_of, before.created_at - before.as_of
    hours = 0.0 if night.asked_as_of else (behind - behind_before).total_seconds() / 3600
    return Arrivals(rows["n_read"], rows["n_bad"], max(hours, 0.0))


def _judged(night: NightlyRun, served_id: str | None) -> tuple[Verdict, Foresight | None]:
    served, settings = load_release(night.workspace) if served_id else None, night.settings
    tried = _tried(night, served)
    later = night.shop.events.filter(pl.col("timestamp") >= night.moments.test_cut)
    foreseen = served_auc(tried.candidate, later, settings.checks.served_auc_users, settings.seed)
    _, users = night.everybody
    candidate = recommender(night.inputs, night.model, users, settings)
    of_served = served.recommender if served else None
    verdict = judge(candidate, of_served, served_id, _compared(night, tried), settings.gate, settings.seed)
    findings, figures = fairness_findings(
        candidate, _group_quality(night, tried), night.as_of, settings.fairness, settings.seed
    )
    night.told += [f"{one.name}: {one.says}" for one in findings if one.severity == "ok"]
    verdict = replace(verdict, findings=(*verdict.findings, *findings), figures=verdict.figures | figures)
    return replace(verdict, forced=night.forced), foreseen


@dataclass(frozen=True)
class _Tried:
    """The candidate's trial and the served release's, None where there is none, on what neither has seen; known: what
    there was before."""

    candidate: Recommender
    served: Recommender | None
    known: Inputs
    held_out: HeldOut


def _tried(night: NightlyRun, served: LoadedRelease | None) -> _Tried:
    moments = night.moments
    known = night.inputs_before.before(moments.test_cut)
    model = _served_trial(night, served)
    is_same_encoder = served is None or served.manifest.encoder_id == night.encoder["id"]
    candidate, opponent = trials(known, night.trial, night.settings, model, _settings_of(served), is_same_encoder)
    held_out = night.held_out(moments.test_cut, moments.as_of)
    held_out = replace(held_out, targets=next_items(held_out.targets))
    return _Tried(candidate, opponent, known, held_out if is_same_encoder else without_read(held_out))


def _compared(night: NightlyRun, tried: _Tried) -> Comparison | None:
    if tried.served is None:
        return None
    settings, categories = night.settings, night.shop.items.select("item_id", "category")
    read_text = tried.known.read_text
    return compare(tried.candidate, tried.served, tried.held_out, read_text, categories, settings.gate, settings.seed)


def _group_quality(night: NightlyRun, tried: _Tried) -> dict[str, float]:
    """Worked out only where its limit is set."""
    settings = night.settings
    if settings.fairness.min_worst_group <= 0:
        return {}
    return group_quality(tried.candidate, tried.held_out, tried.known.read_text, settings.gate, settings.seed)


def _settings_of(served: LoadedRelease | None) -> Settings | None:
    return served.catalogue.settings if served and served.catalogue else None


def _served_trial(night: NightlyRun, served: LoadedRelease | None) -> Model | None:
    """None where the served release has left none: it is then not compared with."""
    if served is None:
        return None
    try:
        return Model.load(trial_folder(night.workspace, served.release_id))
    except StoreError as error:
        night.told.append(f"quality not compared: release {served.release_id} has left no trial model")
        log.warning("quality not compared reason=%s", error)
        return None


def _write(night: NightlyRun, draft: StepOutputWriter, name: str, record: dict[str, Any]) -> None:
    """Into the step's result, and into the run's folder: a night that is held back leaves no result."""
    content = json.dumps(record, indent=2)
    (draft.folder / name).write_text(content)
    night.run_folder.mkdir(parents=True, exist_ok=True)
    (night.run_folder / name).write_text(content)


def _tell_or_stop(night: NightlyRun, who: str, findings: Sequence[Finding]) -> None:
    stopping = stops(findings)
    told = [f"warning: {finding.line()}" for finding in warnings(findings)]
    if stopping and night.forced:
        told += [f"{FORCED} {who}: {finding.line()}" for finding in stopping]
    night.told += told
    for line in told:
        log.warning("night %s", line)
    if stopping and not night.forced:
        more = f" (and {len(stopping) - 1} more)" if len(stopping) > 1 else ""
        served = night.store.current_id()
        stays = f"release {served} stays live" if served else "nothing is published"
        found = f"all findings are in {night.run_folder / REPORT_FILE}"
        raise GateError(
            f"night held back by {who}: {stopping[0].line()}{more}; {stays}; {found}; {_way_back(night, served)}"
            "`recsys nightly --force` publishes anyway"
        )


def _way_back(night: NightlyRun, served_id: str | None) -> str:
    """How what came in since the served release is taken back; "" where nothing of it can be."""
    known = read_record(night.workspace.runs / served_id / CHECKS_FILE) if served_id else {}
    ids = night.lake.history.since(known.get("last_ingest", 0))
    if not ids:
        return ""
    undo = f"recsys ingest undo {' '.join(map(str, ids))}"
    return f"`recsys ingest history` tells what came in, `{undo}` takes back all that did since that release; "
