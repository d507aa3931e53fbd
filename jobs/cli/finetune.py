"""`recsys finetune`: fine-tune the encoder on the shop's texts and behaviour, and print the results."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import TUNING, working
from jobs.cli.options import AsOfOption, ConfigOption, WorkspaceOption, clock, moment, settings_of, shown_progress
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from features.finetune.record import StageRecord
    from jobs.finetune.candidate import Verdict
    from jobs.finetune.run import FinetuneReport

# Imports inside the command: torch, ray and peft take seconds to import, and `recsys --help` must be fast.


def finetune_command(workspace: WorkspaceOption, as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """Fine-tune the text encoder on the shop's data. If it is clearly better, nightly runs use it from then on."""
    from jobs.finetune.run import finetune

    with working(workspace, TUNING, clock) as place:
        settings = settings_of(place, config)
        with shown_progress() as progress:
            report = finetune(place, settings, moment(as_of, "--as-of"), datetime.now(UTC), progress)
    print_report(report, place)


def print_report(report: FinetuneReport, workspace: Workspace) -> None:
    """Print a row per stage, the reasons of skipped stages, the verdict, and the folder of record and curves."""
    console = Console()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)  # every number fits into 80 columns
    for place, name in enumerate(("stage", "trainable", "seconds", "MB", "held out", "before", "after")):
        table.add_column(name, justify="left" if place in (0, 4) else "right", no_wrap=True)
    for stage in report.record.stages:
        for row in _rows(stage):
            table.add_row(*row)
    console.print(table)
    for stage in report.record.stages:
        if stage.skipped:
            console.print(f"{stage.stage} skipped: {stage.skipped}", highlight=False, markup=False)
    console.print(_verdict_text(report.verdict), highlight=False, markup=False)
    folder = workspace.runs / report.name
    console.print(f"record and learning curves: {folder}", highlight=False, markup=False, soft_wrap=True)


def _rows(stage: StageRecord) -> list[tuple[str, ...]]:
    """A row per metric: the first also has time and memory, the second the mode; "-" where before is unknown."""
    if stage.skipped:
        return [(stage.stage, "-", "-", "-", "skipped", "-", "-")]
    n_trainable = stage.trainable_parameters
    trainable = f"{n_trainable / 1e6:,.2f} M" if n_trainable >= 100_000 else f"{n_trainable:,}"
    lines = [
        (
            stage.stage,
            f"{trainable} ({n_trainable / max(1, stage.parameters):.0%})",
            f"{stage.seconds:.1f}",
            f"{stage.peak_memory_mb:,.0f}",
        ),
        (f"({stage.mode})", "", "", ""),
    ]
    measures = [
        (name, f"{stage.before[name]:.4g}" if name in stage.before else "-", f"{value:.4g}")
        for name, value in stage.after.items()
    ]
    n_rows = max(len(lines), len(measures))
    lines += [("", "", "", "")] * (n_rows - len(lines))
    measures += [("", "", "")] * (n_rows - len(measures))
    return [(*line, *measure) for line, measure in zip(lines, measures, strict=True)]


def _verdict_text(verdict: Verdict) -> str:
    outcome = f"{'adopted' if verdict.adopted else 'not adopted'}: {verdict.reason}"
    if not verdict.n_anchors:
        return outcome
    return (
        f"{outcome}; NDCG@10 on {verdict.n_anchors:,} texts {verdict.before:.4f} -> {verdict.after:.4f}, difference "
        f"{verdict.after - verdict.before:+.4f} (95 % interval {verdict.low:+.4f} to {verdict.high:+.4f})"
    )
