"""The one-screen summary of a night."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

from features.store.store import Store
from jobs.night_plan import Planned
from jobs.nightly import Report
from jobs.run_record import REPORT_FILE
from recsys.workspace import Workspace

SLICE_NAMES = {
    "all": "all shoppers",
    "target_0": "item is new",
    "target_1_4": "item had 1-4",
    "target_5_19": "item had 5-19",
    "target_20_up": "item had 20+",
    "cold_user": "new shopper",
}

BESIDE = {"popularity": "popular", "sequence": "sequence", "linear": "linear", "text": "text"}


def print_summary(report: Report, workspace: Workspace) -> None:
    """Counts and times side by side, quality by slice, and where the release is."""
    console = Console()
    console.print(Columns([_counts(report), _times(report)], padding=(0, 4)))
    if report.metrics:
        console.print(_quality(report))
    for line in report.told:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    console.print(_outcome(report, workspace), highlight=False, soft_wrap=True, markup=False)
    page = workspace.runs / report.run_id / REPORT_FILE
    if page.is_file():
        console.print(f"report: {page}", highlight=False, soft_wrap=True, markup=False)


def _outcome(report: Report, workspace: Workspace) -> str:
    if report.published:
        forced = ", although checks or gate would have held it back" if report.forced else ""
        taken = f"; little is new: it goes on from {report.taken_from}" if report.taken_from else ""
        return f"release {report.release_id} is live in {workspace.shown}{forced}{taken}"
    if not report.release_id:
        return f"no release was asked for; {workspace.runs / report.run_id}"
    served = Store(workspace).current_id()
    live = "it is live" if served == report.release_id else f"{served} is live"
    return f"nothing has changed since release {report.release_id}; {live} in {workspace.root}"


def print_plan(planned: list[Planned]) -> None:
    """A row a step: what would be done with it, why, and what it took last time."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("step", "would", "last took", "why"):
        table.add_column(name, justify="right" if name == "last took" else "left", no_wrap=name != "why")
    for step in planned:
        table.add_row(step.step, step.verdict, "-" if step.seconds is None else f"{step.seconds:.1f} s", step.why)
    Console().print(table)


def _counts(report: Report) -> Table:
    table = _table("What there was", "", "rows")
    for name, count in report.counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _times(report: Report) -> Table:
    table = _table("What it took", "step", "seconds")
    for name, seconds in report.seconds.items():
        table.add_row(name, "reused" if name in report.reused else f"{seconds:.1f}")
    table.add_row("together", f"{sum(report.seconds.values()):.1f}", style="bold")
    return table


def _quality(report: Report) -> Table:
    """Recall and NDCG of the lists, and beside them the NDCG of the main sources alone."""
    fused = report.metrics["fused"]
    title = f"Next new item of held-out shoppers, 10 shown; coverage {fused['all']['coverage']:.0%}"
    table = _table(title, "slice", "shoppers", "recall", "ndcg", *BESIDE.values())
    for name, label in SLICE_NAMES.items():
        if fused[name]["n_users"]:
            others = (report.metrics[model][name]["ndcg"] for model in BESIDE)
            figures = (fused[name]["recall"], fused[name]["ndcg"], *others)
            table.add_row(label, f"{fused[name]['n_users']:,}", *(f"{figure:.4f}".lstrip("0") for figure in figures))
    if not table.rows:
        table.add_row("nobody to measure on")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    return table
