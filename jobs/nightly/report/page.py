"""The report of a night, `runs/RUN_ID/report.html`: one file to be read in any browser, whatever became of the night.

It needs no network and no script, and it holds no shopper who was erased: ids stand in it as `recsys erase` looks for
them, and who is kept out already is left out.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from features.store.store import Store
from features.workspace.atomic_files import write_atomically
from features.workspace.erased_users import read_erased
from features.workspace.training_curves import FITS
from jobs.nightly.record import REPORT_FILE, RunRecord
from jobs.nightly.report.figures import History, NightFigures, Point, read_history
from jobs.nightly.report.plots import Bar, Line, bar_plot, line_plot
from jobs.nightly.report.text import (
    VERDICTS,
    against_served,
    arrivals,
    cost,
    expected,
    outcome,
    own_quality,
    seconds,
    slice_name,
    window,
)
from recsys.errors import ErasureError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

TEMPLATE: Final = "night_report.html"

DRIFT: Final = {
    "neighbour_churn": "Neighbours that are others",
    "moved_items": "Items that moved",
    "slate_churn": "Places in lists with another item",
    "vector norm": "Mean norm of item vectors",
    "vector spread": "Likeness of two items",
}

_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"seconds": seconds, "expected": expected, "verdict": lambda one: VERDICTS.get(one, one)}


def write_night_report(workspace: Workspace, run: RunRecord) -> None:
    """Write the page beside the run's record. What keeps it from being written is logged, and is no reason for a night
    to fail."""
    path = workspace.runs / run.run_id / REPORT_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, night_page(workspace, run).encode("utf-8", "replace"))
    except Exception as error:
        log.warning("report not written path=%s error=%s", path, error, exc_info=not isinstance(error, OSError))
    else:
        log.info("report written path=%s", path)


def night_page(workspace: Workspace, run: RunRecord) -> str:
    """The page, from what the night and those before it have left."""
    history = read_history(workspace, run)
    night = history.tonight
    return _ENVIRONMENT.get_template(TEMPLATE).render(
        night=night,
        run=run,
        outcome=outcome(night, Store(workspace).current_id()),
        arrivals=arrivals(night),
        window=window(night),
        checked=night.checks.get("findings", ()),
        judged=night.gate.get("findings", ()),
        own=own_quality(night),
        compared=against_served(night),
        quality_plots=_quality_plots(history),
        training_plots=_training_plots(night),
        drift_plots=_drift_plots(history),
        steps_plot=_steps_plot(history),
        usual={step.name: history.usual_seconds(step.name) for step in run.steps},
        cost=cost(history),
        slates=_slates(workspace, night),
        n_before=len(history.published),
    )


def _quality_plots(history: History) -> list[tuple[str, str]]:
    names = list(history.tonight.metrics.get("fused") or {}) or ["all"]
    plots = [
        (slice_name(name), line_plot(f"NDCG at 10, {slice_name(name)}", [Line("", history.quality(name))], _share))
        for name in names
    ]
    return [(title, plot) for title, plot in plots if plot]


def _training_plots(night: NightFigures) -> list[tuple[str, str]]:
    """Loss of each fit by epoch, and the NDCG on the validation days of the first, which stops there."""
    losses = [
        Line(FITS.get(fit, fit), [Point(str(epoch.number), epoch.loss) for epoch in epochs], look)
        for look, (fit, epochs) in enumerate(night.epochs.items())
    ]
    reached = [
        Point(str(one.number), one.ndcg) for epochs in night.epochs.values() for one in epochs if one.ndcg is not None
    ]
    plots = [
        ("NDCG on the validation days", line_plot("Validation NDCG by epoch", [Line("", reached)], _share, "epoch")),
        ("Loss in training", line_plot("Loss by epoch", losses, _share, "epoch")),
    ]
    return [(title, plot) for title, plot in plots if plot]


def _drift_plots(history: History) -> list[tuple[str, str]]:
    plots = []
    for name, title in DRIFT.items():
        shown = _percent if "_" in name else _share
        plots.append((title, line_plot(title, [Line("", history.drift(name))], shown)))
    return [(title, plot) for title, plot in plots if plot]


def _steps_plot(history: History) -> str:
    bars = [Bar(step.name, step.seconds, history.usual_seconds(step.name)) for step in history.tonight.made]
    return bar_plot("Seconds by step", sorted(bars, key=lambda bar: -bar.value), seconds)


def _slates(workspace: Workspace, night: NightFigures) -> list[dict[str, Any]]:
    """The most changed lists, but for shoppers who are kept out by now; none where it cannot be told who that is."""
    try:
        erased = read_erased(workspace)
    except ErasureError as error:
        log.warning("changed lists left out of the report error=%s", error)
        return []
    return [dict(one) for one in night.gate.get("changed_slates", ()) if one["user_id"] not in erased]


def _share(value: float) -> str:
    if not value:
        return "0"
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{value:.0%}" if value >= 0.1 or not value else f"{value:.1%}"
