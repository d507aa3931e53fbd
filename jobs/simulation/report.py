"""The results of a simulation as a JSON file, a plot and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator
from pydantic import TypeAdapter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.atomic_files import write_atomically
from jobs.simulation.arms import ARMS, CEILING, FIRST_RELEASE, POPULAR, RANDOM, SYSTEM
from jobs.simulation.days import Day, Figures, World

JSON_FILE: Final = "feedback-loop.json"
PLOT_FILE: Final = "feedback-loop.png"
ENDS: Final = 3
"""The first and the last so many days are averaged and compared."""

STEADY: Final = 0.05
"""Relative changes smaller than this count as no change."""

# The palette of Okabe & Ito is safe for colour-blind readers; dashes distinguish the lines in grey.
_LOOKS: Final = {
    SYSTEM: ("#0072B2", "-", 2.4),
    FIRST_RELEASE: ("#E69F00", "--", 1.8),
    POPULAR: ("#CC79A7", "-.", 1.6),
    RANDOM: ("#7F7F7F", ":", 1.8),
    CEILING: ("#009E73", (0, (6, 2)), 1.6),
}
_PANELS: Final = (
    ("click_rate", "clicks per viewed item", True),
    ("purchase_rate", "purchases per visit", False),
    ("coverage", "share of the catalogue shown that day", True),
    ("diversity", "diversity within a list (1 − mean cosine of true vectors)", False),
    ("exposure_gini", "inequality of exposure (Gini)", False),
)
_RATES: Final = ("click_rate", "purchase_rate")
_COLUMNS: Final = (
    ("click_rate", "click rate", ".1%"),
    ("purchase_rate", "purchases", ".2f"),
    ("reached", "of ceiling", ".0%"),
    ("coverage", "coverage", ".0%"),
    ("diversity", "diversity", ".2f"),
)


@dataclass(frozen=True)
class DayRow:
    """A day as the JSON file has it. night_s, published: of the nightly run after it, as in `SimulatedRun`."""

    day: int
    date: str
    release_id: str
    night_s: float | None
    published: str | None
    arms: Mapping[str, Figures]


@dataclass(frozen=True)
class Results(World):
    """The JSON file: the settings, the finding in words, first and last days by arm and figure, and all days."""

    finding: str
    summary: Mapping[str, Mapping[str, Mapping[str, float]]]
    days: Sequence[DayRow]


_RESULTS: Final = TypeAdapter(Results)


def summary(days: Sequence[Day], arm: str = SYSTEM) -> dict[str, dict[str, float]]:
    """Means of an arm over the first and the last days; reached: share of the way from random to the ceiling."""
    return {
        name: {"first": _mean(days[:ENDS], arm, name), "last": _mean(days[-ENDS:], arm, name)} for name, _, _ in _PANELS
    } | {"reached": {"first": _reached(days[:ENDS], arm), "last": _reached(days[-ENDS:], arm)}}


def write_report(folder: Path, world: World, days: Sequence[Day]) -> None:
    """Write the JSON file and the plot for the days so far."""
    rows = [
        DayRow(
            day=day.number,
            date=f"{world.begin(day.number):%Y-%m-%d}",
            release_id=day.release_id,
            night_s=day.run.seconds if day.run else None,
            published=day.run.published if day.run else None,
            arms=day.figures,
        )
        for day in days
    ]
    by_arm = {arm: summary(days, arm) for arm in ARMS}
    results = Results(**asdict(world), finding=finding(days), summary=by_arm, days=rows)
    write_atomically(folder / JSON_FILE, _RESULTS.dump_json(results, indent=1))
    plot(days).savefig(folder / PLOT_FILE, dpi=88)


def finding(days: Sequence[Day]) -> str:
    """In a sentence: the change of the click rate, beside the first release and the ceiling, and of the diversity."""
    of = summary(days)
    first, last = (of["click_rate"][end] for end in ("first", "last"))
    unlearned = summary(days, FIRST_RELEASE)["click_rate"]["last"]
    if abs(last - first) < STEADY * first:
        went = f"stays at {last:.1%}"
    else:
        went = f"{'rises' if last > first else 'falls'} from {first:.1%} to {last:.1%}"
    text = f"Click rate {went} in {len(days)} days"
    if len(days) > ENDS:
        ceiling = summary(days, CEILING)["click_rate"]
        text += f" (without retraining {unlearned:.1%}; ceiling {ceiling['first']:.0%} to {ceiling['last']:.0%})"
    narrowed = [name for name in ("coverage", "diversity") if of[name]["last"] < (1 - STEADY) * of[name]["first"]]
    if narrowed:
        return f"{text}; " + " and ".join(
            f"{name} falls from {of[name]['first']:.2f} to {of[name]['last']:.2f}" for name in narrowed
        )
    return f"{text}; coverage and diversity hold"


def plot(days: Sequence[Day]) -> Figure:
    """A panel per measure and a line per arm, with 95 % intervals of the system's rates."""
    figure = Figure(figsize=(10, 9.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(finding(days).replace("); ", ");\n"), fontsize=13, x=0.01, ha="left")
    axes = figure.subplots(3, 2).ravel()
    for axis, (name, title, in_percent) in zip(axes, _PANELS, strict=False):
        _panel(axis, days, name, title, in_percent=in_percent)
    axes[-1].axis("off")
    handles, names = axes[0].get_legend_handles_labels()
    axes[-1].legend(handles, names, loc="center left", frameon=False, fontsize=11)
    return figure


def print_report(folder: Path, days: Sequence[Day]) -> None:
    """Print the first and the last days of each arm, the finding, and the paths of the files."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for _, title, _ in _COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    for arm in ARMS:
        of = summary(days, arm)
        table.add_row(arm, *(f"{of[name]['first']:{form}}→{of[name]['last']:{form}}" for name, _, form in _COLUMNS))
    console, n_ends = Console(), min(ENDS, len(days))
    console.print(f"{len(days)} days, mean of the first {n_ends} → mean of the last {n_ends}", highlight=False)
    console.print(table)
    console.print(finding(days), soft_wrap=True, highlight=False)
    held_back = [str(day.number) for day in days if day.run and day.run.published is None]
    if held_back:
        console.print(f"no release was published after day {', '.join(held_back)}", highlight=False)
    console.print(f"results: {folder / JSON_FILE}, plot: {folder / PLOT_FILE}", soft_wrap=True, highlight=False)


def _panel(axis: Axes, days: Sequence[Day], name: str, title: str, *, in_percent: bool) -> None:
    scale = 100 if in_percent else 1
    x = [day.number for day in days]
    for arm in ARMS:
        colour, dashes, width = _LOOKS[arm]
        y = scale * np.array([getattr(day.figures[arm], name) for day in days])
        axis.plot(x, y, color=colour, linestyle=dashes, linewidth=width, label=arm, marker="o", markersize=2.5)
        if arm == SYSTEM and name in _RATES:
            error = scale * np.array([getattr(day.figures[arm], f"{name}_error") for day in days])
            axis.fill_between(x, np.maximum(y - error, y / 10), y + error, color=colour, alpha=0.15, linewidth=0)
    is_rate = name in _RATES
    axis.set_title(f"{title}{', %' if in_percent else ''}{' (log scale)' if is_rate else ''}", fontsize=10, loc="left")
    if is_rate:  # the ceiling is ten times higher than what can be learned; a rate of 0 is a gap in the line
        axis.set_yscale("log", nonpositive="mask")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.yaxis.set_minor_locator(NullLocator())
    else:
        axis.set_ylim(bottom=0)
    axis.set_xlabel("day", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.25)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _mean(days: Sequence[Day], arm: str, name: str) -> float:
    return float(np.mean([getattr(day.figures[arm], name) for day in days]))


def _reached(days: Sequence[Day], arm: str) -> float:
    """Share of the way from random to the ceiling, by click rate; 0.0 if the ceiling is no higher than random."""
    low, mine, high = (_mean(days, each, "click_rate") for each in (RANDOM, arm, CEILING))
    return (mine - low) / (high - low) if high > low else 0.0
