"""The days of a simulation as one JSON file, one picture and one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.atomic_files import write_atomically
from jobs.simulation.arms import ARMS, CEILING, FIRST_RELEASE, POPULAR, RANDOM, SYSTEM
from jobs.simulation.days import Day, World

JSON_FILE: Final = "feedback-loop.json"
PLOT_FILE: Final = "feedback-loop.png"
ENDS: Final = 3
"""Days at either end whose mean says where the loop began and where it has come."""

STEADY: Final = 0.05
"""A smaller change, as a share of what was, is none."""

# Okabe & Ito's colours, told apart by all; dashes tell them apart in grey.
_LOOKS: Final = {
    SYSTEM: ("#0072B2", "-", 2.4),
    FIRST_RELEASE: ("#E69F00", "--", 1.8),
    POPULAR: ("#CC79A7", "-.", 1.6),
    RANDOM: ("#7F7F7F", ":", 1.8),
    CEILING: ("#009E73", (0, (6, 2)), 1.6),
}
_PANELS: Final = (
    ("click_rate", "clicks per product looked at", True),
    ("purchase_rate", "purchases per visit", False),
    ("coverage", "share of the catalogue shown that day", True),
    ("diversity", "diversity within a list (1 − mean cosine of true vectors)", False),
    ("exposure_gini", "inequality of exposure (Gini)", False),
)
_RATES: Final = ("click_rate", "purchase_rate")
_COLUMNS: Final = (
    ("click_rate", "clicks", ".1%"),
    ("purchase_rate", "bought", ".2f"),
    ("reached", "reached", ".0%"),
    ("coverage", "shown", ".0%"),
    ("diversity", "diversity", ".2f"),
)


def summary(days: Sequence[Day], arm: str = SYSTEM) -> dict[str, Any]:
    """What became of an arm between the first and the last days; reached: of the way from random to the ceiling."""
    return {
        name: {"first": _mean(days[:ENDS], arm, name), "last": _mean(days[-ENDS:], arm, name)} for name, _, _ in _PANELS
    } | {"reached": {"first": _reached(days[:ENDS], arm), "last": _reached(days[-ENDS:], arm)}}


def write_report(folder: Path, world: World, days: Sequence[Day]) -> None:
    """Both files anew, as the loop stands."""
    told = [
        {
            "day": day.number,
            "date": f"{world.begin(day.number):%Y-%m-%d}",
            "release_id": day.release_id,
            "night_s": day.night.seconds if day.night else None,
            "published": day.night.published if day.night else None,
            "arms": day.figures,
        }
        for day in days
    ]
    content = {
        "start": world.start.isoformat(),
        "seed": world.seed,
        "shoppers": world.shoppers,
        "count": world.count,
        "rest_after": world.rest_after,
        "finding": finding(days),
        "summary": {arm: summary(days, arm) for arm in ARMS},
        "days": told,
    }
    write_atomically(folder / JSON_FILE, json.dumps(content, indent=1).encode())
    plot(days).savefig(folder / PLOT_FILE, dpi=88)


def finding(days: Sequence[Day]) -> str:
    """In a sentence: how the clicks have gone, beside what never learns, and whether what is shown has narrowed."""
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
        text += f" (without learning to {unlearned:.1%}; ceiling {ceiling['first']:.0%} to {ceiling['last']:.0%})"
    narrowed = [name for name in ("coverage", "diversity") if of[name]["last"] < (1 - STEADY) * of[name]["first"]]
    if narrowed:
        return f"{text}; " + " and ".join(
            f"{name} falls from {of[name]['first']:.2f} to {of[name]['last']:.2f}" for name in narrowed
        )
    return f"{text}; coverage and diversity hold"


def plot(days: Sequence[Day]) -> Figure:
    """A panel a measure, a line an arm, with 95 % intervals of the rates of the system."""
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
    """The first and the last days of each arm, the finding, and where the files lie."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for _, title, _ in _COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    for arm in ARMS:
        of = summary(days, arm)
        table.add_row(arm, *(f"{of[name]['first']:{form}}→{of[name]['last']:{form}}" for name, _, form in _COLUMNS))
    console, n_ends = Console(), min(ENDS, len(days))
    console.print(f"{len(days)} days, mean of the first {n_ends} → of the last {n_ends}", highlight=False)
    console.print(table)
    console.print(finding(days), soft_wrap=True, highlight=False)
    held_back = [str(day.number) for day in days if day.night and day.night.published is None]
    if held_back:
        console.print(f"no release was published after day {', '.join(held_back)}", highlight=False)
    console.print(f"{folder / JSON_FILE} and {PLOT_FILE} beside it", soft_wrap=True, highlight=False)


def _panel(axis: Axes, days: Sequence[Day], name: str, title: str, *, in_percent: bool) -> None:
    scale = 100 if in_percent else 1
    x = [day.number for day in days]
    for arm in ARMS:
        colour, dashes, width = _LOOKS[arm]
        y = scale * np.array([day.figures[arm][name] for day in days])
        axis.plot(x, y, color=colour, linestyle=dashes, linewidth=width, label=arm, marker="o", markersize=2.5)
        if arm == SYSTEM and f"{name}_error" in days[0].figures[arm]:
            error = scale * np.array([day.figures[arm][f"{name}_error"] for day in days])
            axis.fill_between(x, np.maximum(y - error, y / 10), y + error, color=colour, alpha=0.15, linewidth=0)
    is_rate = name in _RATES
    axis.set_title(f"{title}{', %' if in_percent else ''}{' (log scale)' if is_rate else ''}", fontsize=10, loc="left")
    if is_rate:  # the ceiling is ten times what can be learned; a rate of 0 is a gap
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
    return float(np.mean([day.figures[arm][name] for day in days]))


def _reached(days: Sequence[Day], arm: str) -> float:
    """0.0 where the ceiling is no higher than random."""
    low, mine, high = (_mean(days, each, "click_rate") for each in (RANDOM, arm, CEILING))
    return (mine - low) / (high - low) if high > low else 0.0
