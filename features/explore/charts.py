"""Charts titled with their main finding, readable in print and by colour-blind people."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Final

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from features.explore.explained_slate import ExplainedSlate
from features.item_map.palette import OKABE_ITO

WIDTH: Final = 8.0
TITLE_CHARS: Final = 76
HATCHES: Final = ("", "///", "...", "\\\\\\", "xxx", "---", "ooo", "+++", "***", "|||")
"""Used beside colours, so that the parts can be distinguished in greyscale print."""

GREY: Final = "#5f5f5f"
NOT_TRAINED: Final = "No training curves: the encoder was not tuned, or the release reused the previous models"


@dataclass(frozen=True)
class Chart:
    """A figure, and the finding that is its title."""

    finding: str
    figure: Figure

    def save(self, path: str | Path) -> Path:
        """Write the figure as PNG, PDF or SVG, depending on the file extension, and return the path."""
        self.figure.savefig(path, bbox_inches="tight")
        return Path(path)

    def __repr__(self) -> str:
        return f"chart: {self.finding}"

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        return buffer.getvalue()


def quality_chart(table: pl.DataFrame, by: str) -> Chart:
    """Chart of a `quality_by` table: the mean NDCG of each group with its interval, worst at the top."""
    if table.is_empty():
        return _empty_chart(f"No data on quality by {by}")
    worst = table.row(0, named=True)
    mean = float(np.average(table["ndcg"].to_numpy(), weights=table["n_users"].to_numpy()))
    finding = f"Lowest NDCG by {by}: {worst['group']} ({worst['ndcg']:.3f}, all shoppers {mean:.3f})"
    axes, chart = _canvas(finding, len(table))
    places = np.arange(len(table))[::-1]
    axes.hlines(places, table["low"], table["high"], color=GREY, linewidth=2)
    axes.plot(table["ndcg"], places, "o", color=OKABE_ITO[0])
    axes.axvline(mean, color=GREY, linestyle="--", linewidth=1)
    labels = [f"{group} ({n_users:,})" for group, n_users in table.select("group", "n_users").iter_rows()]
    _label_rows(axes, places, labels)
    axes.set_xlabel("NDCG at 10 with 95 % interval; in brackets: number of shoppers; dashed: mean of all")
    return chart


def exposure_chart(table: pl.DataFrame, by: str) -> Chart:
    """Chart of an `exposure_by` table: each group's share of exposure in the lists beside its share of demand."""
    with_demand = table.filter(pl.col("ratio").is_not_null()).sort("ratio")
    if with_demand.height:
        least, most = with_demand.row(0, named=True), with_demand.row(-1, named=True)
        finding = (
            f"Lowest exposure relative to demand by {by}: {least['group']} ({least['ratio']:.2f}x); "
            f"highest: {most['group']} ({most['ratio']:.2f}x)"
        )
    else:
        finding = f"No demand yet by {by}"
    axes, chart = _canvas(finding, len(table))
    places = np.arange(len(table))[::-1]
    axes.hlines(places, table["demand"], table["exposure"], color="#b0b0b0", linewidth=2)
    axes.plot(table["demand"], places, "o", color=OKABE_ITO[1], label="demand")
    axes.plot(table["exposure"], places, "s", color=OKABE_ITO[0], label="exposure")
    axes.plot(table["catalogue"], places, "|", color=GREY, markersize=11, label="catalogue")
    _label_rows(axes, places, table["group"].to_list())
    axes.set_xlabel("share of choices (demand), of attention in the lists (exposure), and of the catalogue")
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1.0), fontsize=9)
    return chart


def sources_chart(slate: ExplainedSlate) -> Chart:
    """Stacked bars: how much each source contributes to the score of each item of a list."""
    table = slate.by_source
    names = [name for name in table.columns if name not in ("place", "item_id", "title")]
    sums = {name: float(table[name].fill_null(0.0).abs().sum()) for name in names}
    total = sum(sums.values()) or 1.0
    first = max(sums, key=lambda name: sums[name], default="no source")
    finding = f"{first} contributes most to this list ({sums.get(first, 0.0) / total:.0%} of all contributions)"
    axes, chart = _canvas(finding, len(table))
    places = np.arange(len(table))[::-1]
    up, down = np.zeros(len(table)), np.zeros(len(table))
    for number, name in enumerate(sorted(names, key=lambda name: -sums[name])):
        values = table[name].fill_null(0.0).to_numpy()
        start = np.where(values >= 0, up, down)
        colour, hatch = OKABE_ITO[number % len(OKABE_ITO)], HATCHES[number % len(HATCHES)]
        axes.barh(places, values, left=start, color=colour, hatch=hatch, edgecolor="white", label=name, height=0.7)
        up, down = up + np.maximum(values, 0), down + np.minimum(values, 0)
    axes.axvline(0, color=GREY, linewidth=1)
    titles = [_short(title or item_id) for item_id, title in table.select("item_id", "title").iter_rows()]
    _label_rows(axes, places, titles)
    axes.set_xlabel("contribution to the score, before ranker and rules")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return chart


def features_chart(slate: ExplainedSlate, place: int = 1, most: int = 12) -> Chart:
    """Bars: how much each feature adds to the ranker's score of the item at that place, largest first."""
    table = slate.by_feature.filter(pl.col("place") == place).head(most)
    if table.is_empty():
        return _empty_chart("The weighted sum ranked this item, not the ranker")
    first = table.row(0, named=True)
    way = "raises" if first["contribution"] >= 0 else "lowers"
    finding = f"{first['feature']} {way} “{_short(first['title'] or first['item_id'])}” most"
    axes, chart = _canvas(finding, len(table))
    places = np.arange(len(table))[::-1]
    values = table["contribution"].to_numpy()
    axes.barh(places, values, color=[OKABE_ITO[0] if value >= 0 else OKABE_ITO[4] for value in values], height=0.7)
    axes.axvline(0, color=GREY, linewidth=1)
    labels = [f"{name} = {value:.3g}" for name, value in table.select("feature", "value").iter_rows()]
    _label_rows(axes, places, labels)
    axes.set_xlabel("SHAP value: contribution to the ranker's score")
    return chart


def time_chart(table: pl.DataFrame, value: str, of: str = "all") -> Chart:
    """Chart of a `quality_over_time` or `fairness_over_time` table: one metric over the releases, for one slice."""
    releases = table.filter(pl.col("slice") == of).sort("as_of")
    values = releases[value].to_list()
    if len(values) > 1:
        finding = f"{value} at 10 went from {values[0]:.4f} to {values[-1]:.4f} over {len(values)} releases"
    else:
        finding = f"{value} at 10 is {values[0]:.4f} (one release only)" if values else f"No release has {value}"
    axes, chart = _canvas(finding, 6)
    axes.plot(releases["as_of"].to_list(), values, "o-", color=OKABE_ITO[0])
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"{value} at 10")
    axes.tick_params(axis="x", rotation=30)
    return chart


def curves_chart(table: pl.DataFrame) -> Chart:
    """Chart of a `training_curves` or `tuning_curves` table: the newest run's loss of each stage over its steps."""
    if table.is_empty():
        return _empty_chart(NOT_TRAINED)
    newest = table.filter(pl.col("run") == table["run"][-1])
    stages = newest["stage"].unique(maintain_order=True).to_list()
    last = newest.filter(pl.col("stage") == stages[-1])["loss"].to_numpy()
    way = "fell" if last[-1] < last[0] else "did not fall"
    axes, chart = _canvas(f"“{stages[-1]}”: the loss {way}, {last[0]:.3g} to {last[-1]:.3g}", 6)
    for number, stage in enumerate(stages):
        losses = newest.filter(pl.col("stage") == stage)["loss"].to_numpy()
        style = ("-", "--", ":", "-.")[number % 4]
        axes.plot(np.linspace(0, 1, len(losses)), losses, style, color=OKABE_ITO[number % len(OKABE_ITO)], label=stage)
    axes.set_xlabel("share of the stage's steps")
    axes.set_ylabel("training loss")
    axes.legend(frameon=False)
    return chart


def drift_chart(table: pl.DataFrame, by: str, most: int = 15) -> Chart:
    """Chart of a `drift_by` table: how many neighbours of each group's items changed, the largest share first."""
    if table.is_empty():
        return _empty_chart(f"No data on drift by {by}")
    first = table.row(0, named=True)
    finding = f"{first['group']} drifted most: {first['churn']:.0%} of its items' neighbours changed"
    shown = table.head(most)
    label = "share of an item's 10 nearest neighbours that changed"
    return bars_chart(shown["group"].to_list(), shown["churn"].to_list(), finding, label)


def bars_chart(names: Sequence[str], values: Sequence[float], finding: str, label: str) -> Chart:
    """One horizontal bar per name."""
    axes, chart = _canvas(finding, len(names))
    places = np.arange(len(names))[::-1]
    axes.barh(places, values, color=OKABE_ITO[0], height=0.7)
    for place, value in zip(places, values, strict=True):
        axes.text(value, place, f" {value:.3g}", va="center", fontsize=9)
    _label_rows(axes, places, names)
    axes.set_xlabel(label)
    return chart


def _canvas(finding: str, n_rows: int) -> tuple[Axes, Chart]:
    figure = Figure(figsize=(WIDTH, 1.4 + 0.3 * max(n_rows, 3)))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(fill(finding, TITLE_CHARS), loc="left", fontsize=12, fontweight="bold", pad=24)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes, Chart(finding, figure)


def _empty_chart(message: str) -> Chart:
    figure = Figure(figsize=(WIDTH, 1.0))
    FigureCanvasAgg(figure)
    figure.text(0.0, 0.5, message, fontsize=12)
    return Chart(message, figure)


def _label_rows(axes: Axes, places: np.ndarray, names: Sequence[str]) -> None:
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(places) - 0.4)
    axes.tick_params(axis="y", length=0)


def _short(text: str, most: int = 44) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
