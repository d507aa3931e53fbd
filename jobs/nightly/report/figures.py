"""The figures of a report, gathered from the files of the run and of the runs before it.

Nothing is computed again: `runs/RUN_ID/` has the record, the findings and the epochs, `steps/` the results of steps,
and `runs/RELEASE_ID/` what remains of a run that published. Missing and damaged files are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from features.workspace.training_curves import read_epochs
from jobs.gate.findings import Finding
from jobs.gate.records import CHECKS, GATE, ChecksRecord, GateRecord
from jobs.nightly.record import REPORT, RunRecord, StepRun, read_runs
from jobs.nightly.step_records import INGESTED, METRICS, MOMENTS, IngestedRows
from recsys.sequence.training import Epoch
from recsys.workspace import Workspace

MAX_RUNS: Final = 30
"""How many earlier runs are shown beside this one."""


@dataclass(frozen=True)
class RunFigures:
    """One run. as_of: no later data was used, None where the run ended before that was known; metrics: of the step
    `evaluate`; gate, checks: None where the run ended before them; epochs: by fit."""

    run: RunRecord
    as_of: datetime | None
    metrics: Mapping[str, Any]
    gate: GateRecord | None
    checks: ChecksRecord | None
    ingested: IngestedRows
    epochs: Mapping[str, Sequence[Epoch]]

    @property
    def label(self) -> str:
        """The last day of its data, as plots name it."""
        return f"{self.as_of or self.run.moment:%d %b}"

    @property
    def findings(self) -> list[Finding]:
        return [*(self.checks.findings if self.checks else ()), *(self.gate.findings if self.gate else ())]

    @property
    def executed(self) -> list[StepRun]:
        """The steps that ran, to their end or not, and did not reuse an earlier result."""
        return [step for step in self.run.steps if step.status != "reused"]

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.run.steps)

    @property
    def peak_mb(self) -> float:
        return max((step.peak_mb for step in self.run.steps), default=0.0)

    @property
    def counts(self) -> dict[str, int]:
        """The counts of all steps except those of checks and gate."""
        steps = (step for step in self.run.steps if step.name not in ("check", "gate"))
        return {name: count for step in steps for name, count in step.counts.items()}


@dataclass(frozen=True)
class Point:
    """A figure of one run; low, high: its interval, None where there is none."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Usual:
    """The range and median of a figure in earlier runs."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Usual | None:
        return cls(min(values), median(values), max(values)) if values else None


@dataclass(frozen=True)
class History:
    """This run, and at most `MAX_RUNS` runs before it, oldest first."""

    current: RunFigures
    before: tuple[RunFigures, ...]

    @property
    def published(self) -> list[RunFigures]:
        """The earlier runs that published a release, except the release of this run."""
        release_id = self.current.run.release_id
        return [
            figures
            for figures in self.before
            if figures.run.status == "published" and figures.run.release_id != release_id
        ]

    def quality(self, name: str) -> list[Point]:
        """NDCG of the lists on a slice, run by run up to this one; empty where this run did not measure it."""
        measures = ((figures, (figures.metrics.get("fused") or {}).get(name)) for figures in self._shown())
        return self._up_to_current([_with_interval(figures, of_slice) for figures, of_slice in measures])

    def drift(self, name: str) -> list[Point]:
        """A figure of the gate, or the value of its finding, run by run up to this one; empty where this run has
        none."""
        values = ((figures, _gate_figure(figures.gate, name)) for figures in self._shown())
        return self._up_to_current([None if v is None else Point(figures.label, v) for figures, v in values])

    def _shown(self) -> list[RunFigures]:
        return [*self.published, self.current]

    def _up_to_current(self, points: Sequence[Point | None]) -> list[Point]:
        """The points that exist; none where this run has none, so that an older one is not mistaken for it."""
        return [point for point in points if point] if points[-1] else []

    def usual_seconds(self, step: str) -> Usual | None:
        """Of earlier runs that executed the step."""
        steps = (step_run for figures in self.before for step_run in figures.run.steps)
        return Usual.of([run.seconds for run in steps if run.name == step and run.status == "made"])


def read_history(workspace: Workspace, run: RunRecord) -> History:
    """The run and those before it; runs with a damaged record are skipped."""
    earlier = [other for other in read_runs(workspace) if other.run_id != run.run_id and other.moment <= run.moment]
    before = tuple(read_figures(workspace, other) for other in earlier[-MAX_RUNS:])
    return History(read_figures(workspace, run), before)


def read_figures(workspace: Workspace, run: RunRecord) -> RunFigures:
    """What is stored of one run."""
    keys = {step.name: step.key for step in run.steps}
    released = [workspace.runs / run.release_id] if run.release_id else []

    def folders(step: str) -> list[Path]:
        """Where the files of a step may be; empty where the run did not reach it."""
        if step not in keys:
            return []
        results = [workspace.steps / step / keys[step]] if keys[step] else []
        return [workspace.runs / run.run_id, *results, *released]

    report, moments = REPORT.find(*released), MOMENTS.find(*folders("read"))
    as_of = moments.as_of if moments else report.as_of if report else run.asked_as_of
    return RunFigures(
        run=run,
        as_of=as_of.astimezone(UTC) if as_of else None,
        metrics=METRICS.find(*folders("evaluate")) or (report.metrics if report else {}),
        gate=GATE.find(*folders("gate")),
        checks=CHECKS.find(*folders("check")),
        ingested=INGESTED.find(*folders("ingest")) or IngestedRows(),
        epochs=read_epochs(workspace.runs / run.run_id),
    )


def number(tree: Any, *names: str) -> float | None:
    """The value under these names, where it is a finite number."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    is_number = isinstance(tree, (int, float)) and not isinstance(tree, bool)
    return float(tree) if is_number and math.isfinite(tree) else None


def _with_interval(figures: RunFigures, measures: Any) -> Point | None:
    value = number(measures, "ndcg")
    if value is None or not number(measures, "n_users"):
        return None
    return Point(figures.label, value, number(measures, "ndcg_low"), number(measures, "ndcg_high"))


def _gate_figure(gate: GateRecord | None, name: str) -> float | None:
    if gate is None:
        return None
    value = number(gate.figures, name)
    if value is not None:
        return value
    matches = (finding.value for finding in gate.findings if finding.name == name)
    return next((value for value in matches if math.isfinite(value)), None)
