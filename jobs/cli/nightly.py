"""`recsys nightly`: run once, in part, as a dry run, or on a schedule; and the summary that a run prints."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

from features.workspace.location import NIGHT, reading, working
from jobs.cli.options import AsOfOption, ConfigOption, WorkspaceOption, clock, moment, settings_of, shown_progress
from jobs.cli.scheduler import ended_by_sigterm, run_every, seconds_of
from recsys.errors import ConfigError
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from jobs.nightly.plan import Planned
    from jobs.nightly.run import Report

# Imports inside the functions: torch and ray take seconds to import, and `recsys --help` must be fast.


def nightly_command(
    workspace: WorkspaceOption,
    as_of: AsOfOption = None,
    config: ConfigOption = None,
    only: Annotated[str, typer.Option(help="Run only this step, ignoring its cache.")] = "",
    since: Annotated[str, typer.Option("--from", help="Rerun from this step on.")] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the last unfinished run, with the same --as-of.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print which steps would run, and why; run none.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Publish even if checks or gate fail; this is recorded.")
    ] = False,
    every: Annotated[
        str | None, typer.Option(help="Run repeatedly at this interval: 24h, 90m or 1d. Stop it with SIGTERM.")
    ] = None,
) -> None:
    """Train on the lake, evaluate on held-out days and publish a release. Steps whose inputs did not change are reused.

    Exit code 3: the checks or the release gate failed, nothing was published, and the served release stays.
    """
    if every is not None:
        if as_of or only or since or resume or dry_run or force:
            raise ConfigError("--every cannot be combined with --as-of, --only, --from, --resume, --dry-run or --force")
        given = ["--workspace", workspace, *(["--config", str(config)] if config else [])]
        with ended_by_sigterm():
            run_every(seconds_of(every), [sys.executable, "-m", "jobs", "nightly", *given])
    from jobs.nightly.run import Choice, dry_run_plan, nightly

    choice, given_as_of = Choice(only, since, resume, force), moment(as_of, "--as-of")
    if dry_run:
        with reading(workspace, "lake", "embeddings", "runs") as place:
            print_plan(dry_run_plan(place, settings_of(place, config), given_as_of, datetime.now(UTC), choice))
        return
    with ended_by_sigterm(), working(workspace, NIGHT, clock) as place:
        settings = settings_of(place, config)
        with shown_progress() as progress:
            report = nightly(place, settings, given_as_of, datetime.now(UTC), progress, choice)
    print_summary(report, place)


SLICE_NAMES = {
    "all": "all shoppers",
    "target_0": "new item",
    "target_1_4": "item with 1-4",
    "target_5_19": "item with 5-19",
    "target_20_up": "item with 20+",
    "cold_user": "new shopper",
}
"""Labels of the slices in the summary; the numbers are shoppers who had the target item before."""

BESIDE = {"popularity": "popular", "sequence": "sequence", "linear": "linear", "text": "text"}
"""Candidate sources whose NDCG stands beside that of the lists, and their column names."""


def print_summary(report: Report, workspace: Workspace) -> None:
    """Print row counts and step times side by side, quality by slice, and the release that is served."""
    from jobs.nightly.record import REPORT_FILE

    console = Console()
    console.print(Columns([_counts(report), _times(report)], padding=(0, 4)))
    if report.metrics:
        console.print(_quality(report))
    for line in report.messages:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    console.print(_outcome(report, workspace), highlight=False, soft_wrap=True, markup=False)
    page = workspace.runs / report.run_id / REPORT_FILE
    if page.is_file():
        console.print(f"report: {page}", highlight=False, soft_wrap=True, markup=False)


def _outcome(report: Report, workspace: Workspace) -> str:
    from features.store.store import Store

    if report.published:
        forced = "; published with --force although checks or gate failed" if report.forced else ""
        base = f"; little new data: training continued from release {report.taken_from}" if report.taken_from else ""
        return f"release {report.release_id} is live in {workspace.shown}{forced}{base}"
    if not report.release_id:
        return f"no release was made, as requested; results: {workspace.runs / report.run_id}"
    served = Store(workspace).current_id()
    live = "it is live" if served == report.release_id else f"{served} is live"
    return f"nothing has changed since release {report.release_id}; {live} in {workspace.root}"


def print_plan(planned: list[Planned]) -> None:
    """Print a row per step: run or reuse, the seconds it took last time, and the reason."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("step", "action", "last took", "reason"):
        table.add_column(name, justify="right" if name == "last took" else "left", no_wrap=name != "reason")
    for step in planned:
        table.add_row(step.step, step.verdict, "-" if step.seconds is None else f"{step.seconds:.1f} s", step.why)
    Console().print(table)


def _counts(report: Report) -> Table:
    table = _table("Input data", "", "rows")
    for name, count in report.counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _times(report: Report) -> Table:
    table = _table("Time by step", "step", "seconds")
    for name, seconds in report.seconds.items():
        table.add_row(name, "reused" if name in report.reused else f"{seconds:.1f}")
    table.add_row("total", f"{sum(report.seconds.values()):.1f}", style="bold")
    return table


def _quality(report: Report) -> Table:
    """Recall and NDCG of the lists, and the NDCG of the main candidate sources alone."""
    fused = report.metrics["fused"]
    title = f"Quality of lists of 10 on held-out shoppers; coverage {fused['all']['coverage']:.0%}"
    table = _table(title, "slice", "shoppers", "recall", "ndcg", *BESIDE.values())
    for name, label in SLICE_NAMES.items():
        if fused[name]["n_users"]:
            others = (report.metrics[model][name]["ndcg"] for model in BESIDE)
            figures = (fused[name]["recall"], fused[name]["ndcg"], *others)
            table.add_row(label, f"{fused[name]['n_users']:,}", *(f"{figure:.4f}".lstrip("0") for figure in figures))
    if not table.rows:
        table.add_row("no held-out shoppers")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    return table
