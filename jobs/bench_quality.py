"""How good the lists are beside what libraries would give: every model on one split, its figures, table and JSON."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jobs.bench_data import BenchData
from jobs.bench_models import MODELS, K
from jobs.bench_past import Past, read_past
from recsys import metrics
from recsys.errors import DataError
from recsys.slices import category_slices, frequency_slices, history_slices

log = logging.getLogger(__name__)

WIDTH: Final = 100
DETERMINISTIC: Final = frozenset({"popularity", "implicit BM25", "EASE", "EASE + text"})
"""Models that draw nothing at random: one run stands for every seed."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Measured:
    """One model. figures: a value a user, means over the seeds; lists: what its lists are like, by name."""

    model: str
    figures: dict[str, np.ndarray]
    lists: dict[str, float]
    fit_s: float
    peak_mb: float
    chosen: dict[str, Any]


@dataclass(frozen=True)
class Report:
    """slices: name -> mask over the test users, "all" first; empty ones are left out."""

    data: BenchData
    slices: dict[str, np.ndarray]
    models: tuple[Measured, ...]

    def to_json(self) -> dict[str, Any]:
        """ci95 is the interval of ndcg@10; fit_s and peak_mb are those of the model, the same in each of its slices."""
        rows = [self._row(model, name) for model in self.models for name in self.slices]
        n_users, n_items = len(self.data.test.held_out.targets), len(self.data.items)
        return {"protocol": self.data.protocol, "n_users": n_users, "n_items": n_items, "rows": rows}

    def _row(self, model: Measured, name: str) -> dict[str, Any]:
        members = self.slices[name]
        means = {figure: round(float(model.figures[figure][members].mean()), 6) for figure in FIGURES}
        interval = metrics.bootstrap_interval(model.figures["ndcg@10"][members], self.data.settings.seed)
        return {
            "model": model.model,
            "slice": name,
            **means,
            "ci95": [round(bound, 6) for bound in interval],
            "fit_s": round(model.fit_s, 3),
            "peak_mb": round(model.peak_mb, 1),
        }


FIGURES: Final[Mapping[str, Callable[[np.ndarray], np.ndarray]]] = {
    "recall@10": lambda ranks: metrics.recall(ranks, 10),
    "ndcg@10": lambda ranks: metrics.ndcg(ranks, 10),
    "recall@5": lambda ranks: metrics.recall(ranks, 5),
    "ndcg@5": lambda ranks: metrics.ndcg(ranks, 5),
}
"""What the JSON tells of each slice."""


def bench_quality(data: BenchData, models: Sequence[str], n_seeds: int, progress: Progress) -> Report:
    """Run each of `models` (names of `bench_models.MODELS`) in a process of its own, one after the other.

    Raises DataError where a model fails, with what it said.
    """
    past = read_past(data.test.held_out, data.items["item_id"], data.settings, None)
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as name:
        folder = Path(name)
        data.save(folder)
        measured = []
        for place, model in enumerate(models):
            progress(f"models: {model}", place, len(models))
            measured.append(_measure(folder, data, past, model, 1 if model in DETERMINISTIC else n_seeds))
    return Report(data, _slices(data, past), tuple(measured))


def _measure(folder: Path, data: BenchData, past: Past, model: str, n_seeds: int) -> Measured:
    answers = [_run(folder, model, data.settings.seed + extra) for extra in range(n_seeds)]
    figures = {name: np.mean([figure(ranks) for ranks, _, _ in answers], axis=0) for name, figure in FIGURES.items()}
    lists = [_lists(ranks, shown, data, past) for ranks, shown, _ in answers]
    return Measured(
        model=model,
        figures=figures,
        lists={name: float(np.mean([one[name] for one in lists])) for name in lists[0]},
        fit_s=float(np.mean([told["fit_s"] for _, _, told in answers])),
        peak_mb=max(told["peak_mb"] for _, _, told in answers),
        chosen=answers[0][2]["chosen"],
    )


def _run(folder: Path, model: str, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """ranks, shown, and the figures that `jobs.bench_models` wrote."""
    out = folder / f"{list(MODELS).index(model)}-{seed}"
    command = [sys.executable, "-m", "jobs.bench_models", str(folder), model, str(seed), str(out)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        if done.returncode < 0:
            said = f"ended by signal {-done.returncode}; it may have needed more memory than there is"
        else:
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"model {model!r} failed: {said}")
    told = json.loads(Path(f"{out}.json").read_text())
    log.info("model measured model=%r seed=%d %s", model, seed, told)
    with np.load(f"{out}.npz", allow_pickle=False) as arrays:
        return arrays["ranks"], arrays["shown"], told


def _lists(ranks: np.ndarray, shown: np.ndarray, data: BenchData, past: Past) -> dict[str, float]:
    return {
        "mrr": float(metrics.reciprocal_rank(ranks, K).mean()),
        "coverage": metrics.coverage(shown, past.n_items),
        "novelty": metrics.novelty(shown, past.popularity, past.seen.shape[0]),
        "diversity": metrics.intra_list_diversity(shown, data.text),
        "gini": metrics.gini(shown, past.n_items),
    }


def _slices(data: BenchData, past: Past) -> dict[str, np.ndarray]:
    categories = data.items["category"].gather(past.target_rows.tolist()).to_list()
    slices = {
        "all": np.ones(len(past.targets), dtype=bool),
        **frequency_slices(past.popularity[past.target_rows]),
        **history_slices(past.history_lengths()),
        **category_slices(categories),
    }
    return {name: members for name, members in slices.items() if members.any()}


def print_report(report: Report, console: Console | None = None) -> None:
    """Three tables of at most `WIDTH` columns: all users; NDCG@10 by slice; what the lists are like."""
    console = console or Console()
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console = Console(file=console.file, width=width)
    told = report.to_json()
    title = (
        f"{told['protocol']}: {told['n_users']:,} users, {told['n_items']:,} items, all ranked, what was had left out"
    )
    overall = _table(title, ["model", *FIGURES, "ndcg@10 95 %", "fit s", "peak MB"])
    for row in told["rows"]:
        if row["slice"] == "all":
            low, high = row["ci95"]
            figures = [f"{row[name]:.4f}" for name in FIGURES]
            spent = [f"{row['fit_s']:.1f}", f"{row['peak_mb']:,.0f}"]
            overall.add_row(row["model"], *figures, f"{low:.4f}–{high:.4f}", *spent)
    overall.caption = (
        "Settings tuned on validation alone, then refit on train + validation. Ties count against the model. fit: the "
        "last fit, without tuning. peak: of the model's own process, libraries included."
    )
    console.print(overall)
    _print_difference(report, console)
    _print_slices(report, console)
    _print_lists(report, console)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.pad_edge, table.collapse_padding = False, True  # eight models fit into `WIDTH`
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", overflow="ellipsis", no_wrap=bool(place))
    return table


def _print_difference(report: Report, console: Console) -> None:
    """The last model against the best of the others."""
    *others, last = report.models
    if not others:
        return
    best = max(others, key=lambda model: model.figures["ndcg@10"].mean())
    difference = last.figures["ndcg@10"] - best.figures["ndcg@10"]
    low, high = metrics.bootstrap_difference(
        last.figures["ndcg@10"], best.figures["ndcg@10"], report.data.settings.seed
    )
    console.print(
        f"{last.model} less {best.model}: NDCG@10 {difference.mean():+.4f}, "
        f"paired bootstrap 95 % {low:+.4f} to {high:+.4f}\n",
        highlight=False,
    )


def _print_slices(report: Report, console: Console) -> None:
    table = _table("NDCG@10 by slice", ["slice", "users", *(model.model.replace(" ", "\n") for model in report.models)])
    for name, members in report.slices.items():
        means = [f"{model.figures['ndcg@10'][members].mean():.4f}" for model in report.models]
        table.add_row(name, f"{members.sum():,}", *means)
    console.print(table)


def _print_lists(report: Report, console: Console) -> None:
    names = list(report.models[0].lists)
    table = _table(f"What the lists of {K} are like", ["model", *names, "settings"])
    for model in report.models:
        chosen = " ".join(f"{name} {value}" for name, value in model.chosen.items())
        table.add_row(model.model, *(f"{model.lists[name]:.3f}" for name in names), chosen)
    table.columns[-1].no_wrap = False
    table.columns[-1].justify = "left"
    console.print(table)
