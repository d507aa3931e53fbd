"""What a nightly run would do: which steps it would make anew and why, as far as can be told without making any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from jobs.ingest.seen_files import SOURCES_FILE, load_remembered
from jobs.nightly.context import NightlyRun
from jobs.nightly.step_cache import Step, changed, key_of
from jobs.nightly.steps import NIGHT_STEPS

Verdict = Literal["run", "reuse", "leave out"]
LEFT_OUT: Final = "leave out"


@dataclass(frozen=True)
class Planned:
    """seconds: what the step took when it was last made; None where it never was."""

    step: str
    verdict: Verdict
    why: str
    seconds: float | None


def plan(night: NightlyRun, until: str) -> list[Planned]:
    """Each step in order, judged by the lake as it stands; `night.anew`: steps that are asked for anew. Nothing is
    written. Raises as the run itself where the lake is empty or the encoder missing."""
    planned: list[Planned] = []
    over = False
    for step in NIGHT_STEPS:
        newest = night.kept.newest(step.name)
        verdict, why = _judged(night, step) if not over else (LEFT_OUT, "not asked for")
        planned.append(Planned(step.name, verdict, why, newest.seconds if newest else None))
        over = over or step.name == until
    return planned


def _judged(night: NightlyRun, step: Step[NightlyRun]) -> tuple[Verdict, str]:
    if step.name == "ingest":
        return "run", _unseen(night)
    waits = [name for name in step.reads if name not in night.outputs]
    if waits:
        return "run", f"after {', '.join(waits)}"
    inputs = step.inputs(night, night.outputs, night.settings)
    output = night.kept.find(step.name, key_of(step.name, inputs))
    if step.name in night.anew:
        return "run", "asked for"
    if output is not None and step.holds(night, output.key):
        night.outputs[step.name] = output
        return "reuse", "nothing it reads has changed"
    before = night.kept.newest(step.name)
    if before is None:
        return "run", "never made"
    differing = changed(inputs, before.inputs)
    return "run", f"changed: {', '.join(differing)}" if differing else "its result is gone or damaged"


def _unseen(night: NightlyRun) -> str:
    entries = load_remembered(night.workspace.lake / SOURCES_FILE)
    n_new = sum(entry.unseen() is not None for entry in entries)
    return f"new files of {n_new} of {len(entries)} sources" if n_new else "looks for new files and events"
