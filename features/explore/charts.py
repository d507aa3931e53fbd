"""Charts that state what they show: titled with their finding, readable in print and by the colour-blind."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from features.item_map.palette import OKABE_ITO

if TYPE_CHECKING:
    from features.explore.explained_slate import ExplainedSlate

WIDTH: Final = 8.0
TITLE_CHARS: Final = 76
HATCHES: Final = ("", "///", "...", "\\\\\\", "xxx", "---", "ooo", "+++", "***", "|||")
"""Beside the colour, so that grey print tells the parts apart."""

GREY: Final = "#5f5f5f"
NOT_TRAINED: Final = "Nothing was trained: the encoder is as it came, or models are those of the release before"


@dataclass(frozen=True)
class Chart:
    """A picture with the finding that is its title."""

    finding: str
    figure: Figure

    def save(self, path: str | Path) -> Path:
        """As PNG, PDF or SVG, by the name's ending."""
        self.figure.savefig(path, bbox_inches="tight")
        return Path(path)

    def __repr__(self) -> str:
        return f"chart: {self.finding}"

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        return buffer.getvalue()


def quality_chart(table: pl.DataFrame, by: str) -> Chart:
    """`quality_by`'s table: the mean NDCG of each group with its interval, worst at the top."""
    if table.is_empty():
        return _nothing(f"Nothing is known of the shop by {by}")
    worst = table.row(0, named=True)
    mean = float(np.average(table["ndcg"].to_numpy(), weights=table["n_users"].to_numpy()))
    finding = f"Served worst by {by}: {worst['group']} (NDCG {worst['ndcg']:.3f}, all shoppers {mean:.3f})"
    axes, chart = _canvas(finding, len(table))
    places = np.arange(len(table))[::-1]
    axes.hlines(places, table["low"], table["high"], color=GREY, linewidth=2)
    axes.plot(table["ndcg"], places, "o", color=OKABE_ITO[0])
    axes.axvline(mean, color=GREY, linestyle="--", linewidth=1)
    _names(axes, places, [f"{one['group']} ({one['n_users']:,})" for one in table.iter_rows(named=True)])
    axes.set_xlabel("NDCG at 10 with its 95 % interval; in brackets: shoppers; dashed: all of them")
    return chart


def exposure_chart(table: pl.DataFrame, by: str) -> Chart:
    """`exposure_by`'s table: of each group its share of what is shown beside its share of what is chosen."""
    judged = table.filter(pl.col("ratio").is_not_null()).sort("ratio")
    if judged.height:
        least, most = judged.row(0, named=True), judged.row(-1, named=True)
        finding = (
            f"Shown least for its demand by {by}: {least['group']} (x{least['ratio']:.2f}); "
            f"most: {most['group']} (x{most['ratio']:.2f})"
        )
    else:
        finding = f"Nothing has been chosen yet by {by}"
    axes, chart = _canvas(finding, len(table))
    places = np.arange(len(table))[::-1]
    axes.hlines(places, table["demand"], table["exposure"], color="#b0b0b0", linewidth=2)
    axes.plot(table["demand"], places, "o", color=OKABE_ITO[1], label="chosen")
    axes.plot(table["exposure"], places, "s", color=OKABE_ITO[0], label="shown")
    axes.plot(table["catalogue"], places, "|", color=GREY, markersize=11, label="catalogue")
    _names(axes, places, table["group"].to_list())
    axes.set_xlabel("share of what is chosen, of attention in the lists, and of the catalogue")
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1.0), fontsize=9)
    return chart


def sources_chart(slate: ExplainedSlate) -> Chart:
    """What each source added to the score of each item of a list."""
    table = slate.by_source
    names = [name for name in table.columns if name not in ("place", "item_id", "title")]
    sums = {name: float(table[name].fill_null(0.0).abs().sum()) for name in names}
    total = sum(sums.values()) or 1.0
    first = max(sums, key=lambda name: sums[name], default="nothing")
    finding = f"{first} says most in this list ({sums.get(first, 0.0) / total:.0%} of all contributions)"
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
    _names(axes, places, [_short(title or item_id) for item_id, title in table.select("item_id", "title").iter_rows()])
    axes.set_xlabel("added to the score, before the ranker and the rules")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return chart


def features_chart(slate: ExplainedSlate, place: int = 1, most: int = 12) -> Chart:
    """What the ranker's features add to the score of the item at that place, the largest first."""
    table = slate.by_feature.filter(pl.col("place") == place).head(most)
    if table.is_empty():
        return Chart(
            "The weighted sum ranked this item, not the trees",
            _empty("The weighted sum ranked this item, not the trees"),
        )
    first = table.row(0, named=True)
    way = "raises" if first["contribution"] >= 0 else "lowers"
    finding = f"{first['feature']} {way} “{_short(first['title'] or first['item_id'])}” most"
    axes, chart = _canvas(finding, len(table))
    places = np.arange(len(table))[::-1]
    values = table["contribution"].to_numpy()
    axes.barh(places, values, color=[OKABE_ITO[0] if value >= 0 else OKABE_ITO[4] for value in values], height=0.7)
    axes.axvline(0, color=GREY, linewidth=1)
    _names(axes, places, [f"{name} = {value:.3g}" for name, value in table.select("feature", "value").iter_rows()])
    axes.set_xlabel("SHAP value: added to the ranker's score")
    return chart


def time_chart(table: pl.DataFrame, value: str, of: str = "all") -> Chart:
    """`quality_over_time`'s table: one figure over the releases, for a slice."""
    told = table.filter(pl.col("slice") == of).sort("as_of")
    values = told[value].to_list()
    if len(values) > 1:
        finding = f"{value} at 10 went from {values[0]:.4f} to {values[-1]:.4f} over {len(values)} releases"
    else:
        finding = f"{value} at 10 is {values[0]:.4f}; one release is no trend" if values else f"No release has {value}"
    axes, chart = _canvas(finding, 6)
    axes.plot(told["as_of"].to_list(), values, "o-", color=OKABE_ITO[0])
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"{value} at 10")
    axes.tick_params(axis="x", rotation=30)
    return chart


def curves_chart(table: pl.DataFrame) -> Chart:
    """`training_curves`' or `tuning_curves`' table: the loss of each stage over the share of its steps."""
    if table.is_empty():
        return _nothing(NOT_TRAINED)
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
    """`drift_by`'s table: how many of its items' neighbours are others than before, most drifted first."""
    if table.is_empty():
        return _nothing(f"Nothing is known of the items by {by}")
    first = table.row(0, named=True)
    finding = f"{first['group']} drifted most: {first['churn']:.0%} of its items' neighbours are others"
    told = table.head(most)
    label = "share of an item's 10 neighbours that are others now"
    return bars_chart(told["group"].to_list(), told["churn"].to_list(), finding, label)


def bars_chart(names: Sequence[str], values: Sequence[float], finding: str, label: str) -> Chart:
    """One bar a name."""
    axes, chart = _canvas(finding, len(names))
    places = np.arange(len(names))[::-1]
    axes.barh(places, values, color=OKABE_ITO[0], height=0.7)
    for place, value in zip(places, values, strict=True):
        axes.text(value, place, f" {value:.3g}", va="center", fontsize=9)
    _names(axes, places, names)
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


def _nothing(words: str) -> Chart:
    return Chart(words, _empty(words))


def _empty(words: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.0))
    FigureCanvasAgg(figure)
    figure.text(0.0, 0.5, words, fontsize=12)
    return figure


def _names(axes: Axes, places: np.ndarray, names: Sequence[str]) -> None:
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(places) - 0.4)
    axes.tick_params(axis="y", length=0)


def _short(text: str, most: int = 44) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
