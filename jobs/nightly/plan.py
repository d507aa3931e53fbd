"""Plans a nightly run (`--dry-run`): which steps would run and why, as far as is known without running any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from jobs.ingest.seen_files import FileDigests, load_seen
from jobs.nightly.context import NightlyRun
from jobs.nightly.step_cache import Step, changed, key_of
from jobs.nightly.steps import STEPS

Verdict = Literal["run", "reuse", "skip"]
SKIPPED: Final = "skip"


@dataclass(frozen=True)
class Planned:
    """seconds: how long the step took when it last ran; None where it never ran."""

    step: str
    verdict: Verdict
    why: str
    seconds: float | None


def plan(run: NightlyRun, until: str) -> list[Planned]:
    """Each step in order, by the current lake; `run.anew`: steps that run in any case. Writes nothing. Raises as the
    run itself where the lake is empty or the encoder missing."""
    planned: list[Planned] = []
    is_past = False
    for step in STEPS:
        newest = run.cache.newest(step.name)
        verdict, why = _decide(run, step) if not is_past else (SKIPPED, "not requested")
        planned.append(Planned(step.name, verdict, why, newest.seconds if newest else None))
        is_past = is_past or step.name == until
    return planned


def _decide(run: NightlyRun, step: Step[NightlyRun]) -> tuple[Verdict, str]:
    if step.name == "ingest":
        return "run", _unseen(run)
    waits = [name for name in step.reads if name not in run.outputs]
    if waits:
        return "run", f"after {', '.join(waits)}"
    inputs = step.inputs(run, run.outputs, run.settings)
    output = run.cache.find(step.name, key_of(step.name, inputs))
    if step.name in run.anew:
        return "run", "requested"
    if output is not None and step.holds(run, output.key):
        run.outputs[step.name] = output
        return "reuse", "inputs unchanged"
    before = run.cache.newest(step.name)
    if before is None:
        return "run", "never ran"
    differing = changed(inputs, before.inputs)
    return "run", f"changed: {', '.join(differing)}" if differing else "its result is missing or damaged"


def _unseen(run: NightlyRun) -> str:
    sources, digests = load_seen(run.workspace.lake), FileDigests()
    n_new = sum(source.unseen(digests, run.workspace.lake) is not None for source in sources)
    return f"new files of {n_new} of {len(sources)} sources" if n_new else "checks for new files and events"
