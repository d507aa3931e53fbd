"""`recsys bench quality`: quality of the lists beside other models and libraries, on one split."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jobs.bench.data import BenchData
from jobs.bench.measured_process import MeasuredAnswers, run_process
from jobs.bench.models import MODELS
from jobs.bench.peer_runner import DETERMINISTIC_PEERS, run_peer
from jobs.bench.peers.models import PEERS
from jobs.bench.scoring import K, Past, read_past
from recsys import metrics
from recsys.slices import category_slices, frequency_slices, history_slices

WIDTH: Final = 100
DETERMINISTIC: Final = frozenset({"popularity", "implicit BM25", "EASE", "EASE + text", "buy it again", "true taste"})
"""Models without randomness: one run is enough for all seeds."""

SERVED_ROW: Final = "fused"
CEILING: Final = "true taste"
UNVISITED: Final = "fused without visit"
OF_A_SAMPLE: Final = frozenset({UNVISITED, CEILING})
"""Measured only on a simulated shop."""

NOT_RIVALS: Final = OF_A_SAMPLE | {"fused + new"}
MODELS_ABREAST: Final = 6
"""Number of model columns that fit into `WIDTH`."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Measured:
    """One model. figures: a value per user, means over the seeds; lists: properties of its lists, by name; chosen: its
    settings."""

    model: str
    figures: dict[str, np.ndarray]
    lists: dict[str, float]
    fit_s: float
    peak_mb: float
    chosen: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """Means of one model over the users of one slice. ci95: of NDCG@10; fit_s, peak_mb: of the model, the same in each
    of its slices."""

    model: str
    slice: str
    recall_10: Annotated[float, Field(serialization_alias="recall@10")]
    ndcg_10: Annotated[float, Field(serialization_alias="ndcg@10")]
    recall_5: Annotated[float, Field(serialization_alias="recall@5")]
    ndcg_5: Annotated[float, Field(serialization_alias="ndcg@5")]
    ci95: tuple[float, float]
    fit_s: float
    peak_mb: float


@dataclass(frozen=True)
class Results:
    """The JSON file."""

    protocol: str
    n_users: int
    n_items: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Report:
    """slices: name -> mask over the test users, "all" first, without empty ones. seed: of the bootstrap."""

    protocol: str
    n_items: int
    repeats: bool
    seed: int
    slices: dict[str, np.ndarray]
    models: tuple[Measured, ...]

    def results(self) -> Results:
        """A row per model and slice."""
        rows = tuple(self._row(model, name) for model in self.models for name in self.slices)
        return Results(self.protocol, len(self.slices["all"]), self.n_items, rows)

    def _row(self, model: Measured, name: str) -> Row:
        members = self.slices[name]
        means = {figure: round(float(model.figures[figure][members].mean()), 6) for figure in FIGURES}
        low, high = metrics.bootstrap_interval(model.figures["ndcg@10"][members], self.seed)
        return Row(
            model=model.model,
            slice=name,
            recall_10=means["recall@10"],
            ndcg_10=means["ndcg@10"],
            recall_5=means["recall@5"],
            ndcg_5=means["ndcg@5"],
            ci95=(round(low, 6), round(high, 6)),
            fit_s=round(model.fit_s, 3),
            peak_mb=round(model.peak_mb, 1),
        )


FIGURES: Final[Mapping[str, Callable[[np.ndarray], np.ndarray]]] = {
    "recall@10": lambda ranks: metrics.recall(ranks, 10),
    "ndcg@10": lambda ranks: metrics.ndcg(ranks, 10),
    "recall@5": lambda ranks: metrics.recall(ranks, 5),
    "ndcg@5": lambda ranks: metrics.ndcg(ranks, 5),
}
"""Figures of each slice, by name: ranks -> a value per user."""


def bench_quality(
    data: BenchData,
    models: Sequence[str],
    n_seeds: int,
    progress: Progress,
    *,
    peers: Path | None = None,
    sample: Path | None = None,
) -> Report:
    """Run each of `models` (names in `jobs.bench.models.MODELS`) as a separate process, one after the other.

    peers: the interpreter from `peers_python`, needed for names in `PEERS`; sample: folder of a simulated storefront.
    Raises DataError if a model fails, with the last line of its stderr.
    """
    past = read_past(data.test, data.items["item_id"], data.settings, data.repeats, None)
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as name:
        folder = Path(name)
        data.save(folder)
        measured = []
        if sample is not None:
            shutil.copytree(sample / "truth", folder / "truth")
        left_out = (set() if data.repeats else {"buy it again"}) | (set() if sample else OF_A_SAMPLE)
        names = [model for model in models if model not in left_out]
        for place, model in enumerate(names):
            progress(f"models: {model}", place, len(names))
            run = partial(run_peer, peers) if peers is not None and model in PEERS else _run
            n_runs = 1 if model in DETERMINISTIC | DETERMINISTIC_PEERS else n_seeds
            measured.append(_measure(partial(run, folder, model), data, past, model, n_runs))
    slices = _slices(data, past)
    return Report(data.protocol, len(data.items), data.repeats, data.settings.seed, slices, tuple(measured))


def pooled(reports: Sequence[Report]) -> Report:
    """One report over the users of all reports, which are of shops of one size and have the same models.

    Properties of lists and fit times are means over the shops, peaks the largest, settings those of the first shop.
    """
    names = dict.fromkeys(name for report in reports for name in report.slices)
    nobody = [np.zeros(len(report.slices["all"]), dtype=bool) for report in reports]
    slices = {
        name: np.concatenate([report.slices.get(name, none) for report, none in zip(reports, nobody, strict=True)])
        for name in names
    }
    models = tuple(_pooled(of_shops) for of_shops in zip(*(report.models for report in reports), strict=True))
    return replace(reports[0], slices=slices, models=models)


def _pooled(of_shops: Sequence[Measured]) -> Measured:
    first = of_shops[0]
    return Measured(
        model=first.model,
        figures={name: np.concatenate([measured.figures[name] for measured in of_shops]) for name in first.figures},
        lists={name: float(np.mean([measured.lists[name] for measured in of_shops])) for name in first.lists},
        fit_s=float(np.mean([measured.fit_s for measured in of_shops])),
        peak_mb=max(measured.peak_mb for measured in of_shops),
        chosen=first.chosen,
    )


def _measure(run: Callable[[int], MeasuredAnswers], data: BenchData, past: Past, model: str, n_runs: int) -> Measured:
    answers = [run(data.settings.seed + extra) for extra in range(n_runs)]
    figures = {name: np.mean([figure(ranks) for ranks, _, _ in answers], axis=0) for name, figure in FIGURES.items()}
    lists = [_lists(ranks, shown, data, past) for ranks, shown, _ in answers]
    return Measured(
        model=model,
        figures=figures,
        lists={name: float(np.mean([of_run[name] for of_run in lists])) for name in lists[0]},
        fit_s=float(np.mean([run_figures.fit_s for _, _, run_figures in answers])),
        peak_mb=max(run_figures.peak_mb for _, _, run_figures in answers),
        chosen=answers[0][2].chosen,
    )


def _run(folder: Path, model: str, seed: int) -> MeasuredAnswers:
    """Run `jobs.bench.models`."""
    out = folder / f"{list(MODELS).index(model)}-{seed}"
    return run_process([sys.executable, "-m", "jobs.bench.models", str(folder), model, str(seed)], model, out)


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
        **history_slices(past.n_before),
        **category_slices(categories),
    }
    return {name: members for name, members in slices.items() if members.any()}


def print_report(report: Report, console: Console | None = None) -> None:
    """Print tables of at most `WIDTH` columns: all users; the difference to the best other model; NDCG@10 by slice;
    properties of the lists."""
    console = console or Console()
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console = Console(file=console.file, width=width)
    results = report.results()
    hidden = "repeats count" if report.repeats else "known items excluded"
    title = f"{results.protocol}: {results.n_users:,} users, {results.n_items:,} items, all ranked, {hidden}"
    overall = _table(title, ["model", *FIGURES, "ndcg@10 95 %", "fit s", "peak MB"])
    for row in results.rows:
        if row.slice == "all":
            figures = [f"{figure:.4f}" for figure in (row.recall_10, row.ndcg_10, row.recall_5, row.ndcg_5)]
            low, high = row.ci95
            overall.add_row(row.model, *figures, f"{low:.4f}–{high:.4f}", f"{row.fit_s:.1f}", f"{row.peak_mb:,.0f}")
    overall.caption = (
        "Settings are tuned on validation, then the model is refitted on train + validation. Ties count against the "
        "model. fit s: last fit, without tuning. peak MB: of the model's process, libraries included."
    )
    console.print(overall)
    _print_difference(report, console)
    _print_slices(report, console)
    _print_lists(report, console)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.pad_edge, table.collapse_padding = False, True  # eight models fit into `WIDTH`
    for place, name in enumerate(columns):  # only the first column may wrap: numbers must not be cut
        table.add_column(name, justify="right" if place else "left", overflow="fold", no_wrap=bool(place))
    return table


def _print_difference(report: Report, console: Console) -> None:
    """Print the served lists, or else the last model, against the best other model in each slice."""
    names = [model.model for model in report.models]
    ours = report.models[names.index(SERVED_ROW) if SERVED_ROW in names else -1]
    others = [model for model in report.models if model.model not in {ours.model, *NOT_RIVALS}]
    if not others:
        return
    title = f"NDCG@10 of {ours.model} minus the best other model, with paired bootstrap 95 % interval"
    table = _table(title, ["slice", "users", ours.model, "best other", "its ndcg", "difference", "95 %"])
    for name, members in report.slices.items():
        best = max(others, key=lambda model: model.figures["ndcg@10"][members].mean())
        served, rival = ours.figures["ndcg@10"][members], best.figures["ndcg@10"][members]
        low, high = metrics.bootstrap_difference(served, rival, report.seed)
        difference = f"{served.mean() - rival.mean():+.4f}"
        figures = [f"{served.mean():.4f}", best.model, f"{rival.mean():.4f}", difference, f"{low:+.4f} to {high:+.4f}"]
        table.add_row(name, f"{len(served):,}", *figures)
    console.print(table)
    if set(names) >= OF_A_SAMPLE:
        reached, ceiling = (report.models[names.index(name)].figures["ndcg@10"].mean() for name in (UNVISITED, CEILING))
        text = f"{UNVISITED} reaches {reached / max(ceiling, 1e-12):.1%} of the NDCG@10 of {CEILING}"
        console.print(f"{text}; neither uses the events of the current visit\n", highlight=False)


def _print_slices(report: Report, console: Console) -> None:
    for start in range(0, len(report.models), MODELS_ABREAST):
        models = report.models[start : start + MODELS_ABREAST]
        table = _table("NDCG@10 by slice", ["slice", "users", *(model.model.replace(" ", "\n") for model in models)])
        for name, members in report.slices.items():
            means = [f"{model.figures['ndcg@10'][members].mean():.4f}" for model in models]
            table.add_row(name, f"{members.sum():,}", *means)
        console.print(table)


def _print_lists(report: Report, console: Console) -> None:
    names = list(report.models[0].lists)
    table = _table(f"Properties of the lists of {K}", ["model", *names, "settings"])
    for model in report.models:
        chosen = " ".join(f"{name} {value}" for name, value in model.chosen.items())
        table.add_row(model.model, *(f"{model.lists[name]:.3f}" for name in names), chosen)
    table.columns[-1].no_wrap = False
    table.columns[-1].justify = "left"
    console.print(table)
