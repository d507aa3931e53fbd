"""The report of a nightly run, `runs/RUN_ID/report.html`: one file for any browser, also of a run that failed.

It needs no network and no script. It shows no erased shoppers: their ids are left out, and ids are written in the form
in which `recsys erase` finds them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from features.store.store import Store
from features.workspace.atomic_files import write_atomically
from features.workspace.erased_users import read_erased
from features.workspace.training_curves import FITS
from jobs.gate.records import ChangedSlate
from jobs.nightly.record import REPORT_FILE, RunRecord
from jobs.nightly.report.figures import History, Point, RunFigures, read_history
from jobs.nightly.report.plots import Bar, Line, bar_plot, line_plot
from jobs.nightly.report.text import (
    STEP_STATUSES,
    VERDICTS,
    against_served,
    cost,
    finding_name,
    held_out_quality,
    ingested_tables,
    outcome,
    seconds,
    slice_name,
    window,
)
from recsys.errors import ErasureError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

TEMPLATE: Final = "report.html"

DRIFT: Final = {
    "neighbour_churn": "Changed neighbours",
    "moved_items": "Moved items",
    "slate_churn": "Changed items in reference lists",
    "vector norm": "Mean norm of item vectors",
    "vector spread": "Mean pairwise cosine similarity",
}

_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "seconds": seconds,
    "finding_name": finding_name,
    "verdict": lambda severity: VERDICTS.get(severity, severity),
    "step_status": lambda status: STEP_STATUSES.get(status, status),
}


def write_report(workspace: Workspace, run: RunRecord) -> None:
    """Write the page beside the run's record. An error is logged, and does not fail the run."""
    path = workspace.runs / run.run_id / REPORT_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, render_report(workspace, run).encode("utf-8", "replace"))
    except Exception as error:
        log.warning("report_not_written path=%s error=%s", path, error, exc_info=not isinstance(error, OSError))
    else:
        log.info("report_written path=%s", path)


def render_report(workspace: Workspace, run: RunRecord) -> str:
    """The page, from the files of the run and of the runs before it."""
    history = read_history(workspace, run)
    figures = history.current
    return _ENVIRONMENT.get_template(TEMPLATE).render(
        figures=figures,
        run=run,
        outcome=outcome(figures, Store(workspace).current_id()),
        ingested=ingested_tables(figures),
        window=window(figures),
        checks=figures.checks,
        gate=figures.gate,
        held_out=held_out_quality(figures),
        compared=against_served(figures),
        quality_plots=_quality_plots(history),
        training_plots=_training_plots(figures),
        drift_plots=_drift_plots(history),
        steps_plot=_steps_plot(history),
        usual={step.name: history.usual_seconds(step.name) for step in run.steps},
        cost=cost(history),
        slates=_slates(workspace, figures),
        n_before=len(history.published),
    )


def _quality_plots(history: History) -> list[tuple[str, str]]:
    names = list(history.current.metrics.get("fused") or {}) or ["all"]
    plots = [
        (slice_name(name), line_plot(f"NDCG at 10, {slice_name(name)}", [Line("", history.quality(name))], _share))
        for name in names
    ]
    return [(title, plot) for title, plot in plots if plot]


def _training_plots(figures: RunFigures) -> list[tuple[str, str]]:
    """Loss of each fit by epoch, and the NDCG on the validation days of the first, which has early stopping."""
    losses = [
        Line(FITS.get(fit, fit), [Point(str(epoch.number), epoch.loss) for epoch in epochs], look)
        for look, (fit, epochs) in enumerate(figures.epochs.items())
    ]
    reached = [
        Point(str(epoch.number), epoch.ndcg)
        for epochs in figures.epochs.values()
        for epoch in epochs
        if epoch.ndcg is not None
    ]
    plots = [
        ("NDCG on validation days", line_plot("Validation NDCG by epoch", [Line("", reached)], _share, "epoch")),
        ("Training loss", line_plot("Loss by epoch", losses, _share, "epoch")),
    ]
    return [(title, plot) for title, plot in plots if plot]


def _drift_plots(history: History) -> list[tuple[str, str]]:
    plots = []
    for name, title in DRIFT.items():
        shown = _percent if "_" in name else _share
        plots.append((title, line_plot(title, [Line("", history.drift(name))], shown)))
    return [(title, plot) for title, plot in plots if plot]


def _steps_plot(history: History) -> str:
    bars = [Bar(step.name, step.seconds, history.usual_seconds(step.name)) for step in history.current.executed]
    return bar_plot("Seconds by step", sorted(bars, key=lambda bar: -bar.value), seconds)


def _slates(workspace: Workspace, figures: RunFigures) -> list[ChangedSlate]:
    """The most changed lists, without those of erased shoppers; none where the erased shoppers cannot be read."""
    try:
        erased = read_erased(workspace)
    except ErasureError as error:
        log.warning("changed_lists_not_shown error=%s", error)
        return []
    slates = figures.gate.changed_slates if figures.gate else ()
    return [slate for slate in slates if slate.user_id not in erased]


def _share(value: float) -> str:
    if not value:
        return "0"
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{value:.0%}" if value >= 0.1 or not value else f"{value:.1%}"
