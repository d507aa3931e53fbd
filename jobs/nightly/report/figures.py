"""What a night's report tells, gathered from what the night and those before it have left on the disk.

Nothing is worked out anew: `runs/RUN_ID/` has the record, the findings and the epochs, `steps/` what the steps made,
and `runs/RELEASE_ID/` what is kept of a night that published. What is missing or damaged is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Final

from features.workspace.training_curves import read_epochs
from jobs.gate.findings import CHECKS_FILE, GATE_FILE
from jobs.nightly.context import ARRIVALS_FILE, METRICS_FILE, MOMENTS_FILE
from jobs.nightly.record import RunRecord, StepRun, read_record, read_runs
from recsys.sequence.training import Epoch
from recsys.workspace import Workspace

MAX_NIGHTS: Final = 30
"""So many earlier nights stand beside tonight's."""


@dataclass(frozen=True)
class NightFigures:
    """One night. as_of: nothing later was looked at, None where it ended before that was clear; metrics: as `evaluate`
    tells them; gate, checks, arrivals: as the steps wrote them, empty where they did not; epochs: by fit."""

    run: RunRecord
    as_of: datetime | None
    metrics: Mapping[str, Any]
    gate: Mapping[str, Any]
    checks: Mapping[str, Any]
    arrivals: Mapping[str, Any]
    epochs: Mapping[str, Sequence[Epoch]]

    @property
    def label(self) -> str:
        """The day that it knew last, as plots name it."""
        return f"{self.as_of or self.run.moment:%d %b}"

    @property
    def findings(self) -> list[Mapping[str, Any]]:
        return [*self.checks.get("findings", ()), *self.gate.get("findings", ())]

    @property
    def made(self) -> list[StepRun]:
        """The steps that ran, to their end or not, and took no earlier result."""
        return [step for step in self.run.steps if step.status != "reused"]

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.run.steps)

    @property
    def peak_mb(self) -> float:
        return max((step.peak_mb for step in self.run.steps), default=0.0)

    @property
    def counts(self) -> dict[str, int]:
        """What there was, and what was done with it, by all steps but those that judge."""
        steps = (step for step in self.run.steps if step.name not in ("check", "gate"))
        return {name: count for step in steps for name, count in step.counts.items()}


@dataclass(frozen=True)
class Point:
    """A figure of one night; low, high: its interval, None where there is none."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Usual:
    """What a figure was in earlier nights."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Usual | None:
        return cls(min(values), median(values), max(values)) if values else None


@dataclass(frozen=True)
class History:
    """Tonight, and at most `MAX_NIGHTS` nights before it, oldest first."""

    tonight: NightFigures
    before: tuple[NightFigures, ...]

    @property
    def published(self) -> list[NightFigures]:
        """Of the earlier nights those that led to a release, but for the one that tonight has led to again."""
        again = self.tonight.run.release_id
        return [night for night in self.before if night.run.status == "published" and night.run.release_id != again]

    def quality(self, name: str) -> list[Point]:
        """NDCG of the lists on a slice, where anyone was measured, night by night up to tonight's; else nothing."""
        told = ((night, (night.metrics.get("fused") or {}).get(name)) for night in (*self.published, self.tonight))
        points = [(night, _with_interval(night, of)) for night, of in told]
        return self._up_to_tonight(points)

    def drift(self, name: str) -> list[Point]:
        """A figure of the gate, or the value of a finding of it, night by night up to tonight's; else nothing."""
        nights = ((night, _figure(night.gate, name)) for night in (*self.published, self.tonight))
        return self._up_to_tonight([(night, None if v is None else Point(night.label, v)) for night, v in nights])

    def _up_to_tonight(self, points: Sequence[tuple[NightFigures, Point | None]]) -> list[Point]:
        """Those that there are; none where tonight has none, lest an older one be taken for it."""
        (night, last) = points[-1]
        assert night is self.tonight
        return [point for _, point in points if point] if last else []

    def usual_seconds(self, step: str) -> Usual | None:
        """Where it was made, not taken over."""
        return Usual.of([one.seconds for night in self.before for one in night.run.steps if _is_made(one, step)])


def read_history(workspace: Workspace, run: RunRecord) -> History:
    """The run and those before it; a night whose record is damaged is left out."""
    earlier = [one for one in read_runs(workspace) if one.run_id != run.run_id and one.moment <= run.moment]
    before = tuple(read_figures(workspace, one) for one in earlier[-MAX_NIGHTS:])
    return History(read_figures(workspace, run), before)


def read_figures(workspace: Workspace, run: RunRecord) -> NightFigures:
    """What is left of one night."""
    keys = {step.name: step.key for step in run.steps}
    released = [workspace.runs / run.release_id] if run.release_id else []

    def kept(step: str, name: str) -> Mapping[str, Any]:
        """Of a step that the run has come to."""
        if step not in keys:
            return {}
        made = [workspace.steps / step / keys[step]] if keys[step] else []
        folders = [workspace.runs / run.run_id, *made, *released]
        return next((told for folder in folders if (told := read_record(folder / name))), {})

    report = read_record(released[0] / "report.json") if released else {}
    return NightFigures(
        run=run,
        as_of=_moment(kept("read", MOMENTS_FILE).get("as_of") or report.get("as_of")) or run.asked_as_of,
        metrics=kept("evaluate", METRICS_FILE) or _mapping(report.get("metrics")),
        gate=kept("gate", GATE_FILE),
        checks=kept("check", CHECKS_FILE),
        arrivals=kept("ingest", ARRIVALS_FILE),
        epochs=read_epochs(workspace.runs / run.run_id),
    )


def number(tree: Any, *names: str) -> float | None:
    """What lies under these names, where it is a finite number."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    is_number = isinstance(tree, (int, float)) and not isinstance(tree, bool)
    return float(tree) if is_number and math.isfinite(tree) else None


def _with_interval(night: NightFigures, told: Any) -> Point | None:
    value = number(told, "ndcg")
    if value is None or not number(told, "n_users"):
        return None
    return Point(night.label, value, number(told, "ndcg_low"), number(told, "ndcg_high"))


def _figure(gate: Mapping[str, Any], name: str) -> float | None:
    found = (one for one in gate.get("findings", ()) if isinstance(one, Mapping) and one.get("name") == name)
    value = number(gate, "figures", name)
    return value if value is not None else number(next(found, None), "value")


def _is_made(step: StepRun, name: str) -> bool:
    return step.name == name and step.status == "made"


def _mapping(told: Any) -> Mapping[str, Any]:
    return told if isinstance(told, Mapping) else {}


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
