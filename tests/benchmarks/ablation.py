"""Quality without each part of the served list: fusion and ranker are learned again without it.

`python tests/benchmarks/ablation.py --events F --catalog F [--map …] [--set …] [--protocol …] --json OUT` fits the
models once, as `recsys bench quality` does, and prints a row without each source, without the ranker, and with a ranker
that has no item features. (Without any text: `recsys bench quality` without `--catalog`.)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from jobs.bench.data import BenchData, read_bench
from jobs.bench.product import fitted_model, served_lists
from jobs.cli.options import configure_logging, shown_progress
from jobs.ingest.sources.spec import SourceSpec, assignments, constants
from jobs.training.fit import learn_fusion, learn_ranker, recommender, users_of
from recsys.candidates import Source
from recsys.config import Settings
from recsys.metrics import bootstrap_difference, ndcg, recall
from recsys.model import Model
from recsys.workspace import Workspace


@dataclass(frozen=True)
class Without(Model):
    """The model without one source."""

    left_out: str = ""

    def sources(self) -> tuple[Source, ...]:
        return tuple(source for source in super().sources() if source.name != self.left_out)


def without(model: Model, left_out: str) -> Model:
    return Without(**{field.name: getattr(model, field.name) for field in fields(Model)}, left_out=left_out)


def ranks(data: BenchData, before: Model, after: Model, ranked: bool) -> np.ndarray:
    """Ranks of the test targets, with fusion and ranker learned by `before` on validation and applied to `after`."""
    settings = data.settings
    settings = settings.model_copy(update={"new_items": settings.new_items.model_copy(update={"share": 0.0})})
    inputs, held_out = data.inputs(data.validation), data.validation
    _, users = users_of(inputs, settings)
    fusion = learn_fusion(inputs, before, users, held_out, settings)
    before = replace(before, fusion=fusion)
    ranker = learn_ranker(inputs, before, users, held_out, settings) if ranked else None
    inputs = data.inputs(data.test)
    _, users = users_of(inputs, settings)
    served = recommender(inputs, replace(after, fusion=fusion, ranker=ranker), users, settings)
    return served_lists(served, data.test, data.read_text)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", required=True)
    parser.add_argument("--catalog")
    parser.add_argument("--map", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--protocol", choices=["leave-one-out", "temporal"], default="temporal")
    parser.add_argument("--workspace", type=Path, default=Path.home() / ".cache" / "recsys" / "bench")
    parser.add_argument("--fits", type=Path, help="folder that caches the fitted models")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    configure_logging(verbose=False)
    given = {"events": options.events, "catalog": options.catalog}
    paths = {table: (str(Path(path).absolute()),) for table, path in given.items() if path}
    spec = SourceSpec("table", paths, assignments("--map", options.map), constants(options.set))
    with shown_progress() as progress:
        data = read_bench(spec, options.protocol, Workspace(options.workspace), Settings(), datetime.now(UTC), progress)
    with TemporaryDirectory() as place:
        folder = options.fits or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        before, _ = fitted_model(data, folder, data.settings, "validation")
        after, _ = fitted_model(data, folder, data.settings, "test")
    ranks_by_model = {"everything": ranks(data, before, after, ranked=True)}
    trials: dict[str, Callable[[], np.ndarray]] = {
        "without the ranker": lambda: ranks(data, before, after, ranked=False),
        "ranker without item features": lambda: ranks(data, *(blind(model) for model in (before, after)), ranked=True),
    }
    for source in before.sources():
        if source.name not in ("query_text", "browsing"):
            trials[f"without {source.name}"] = lambda name=source.name: ranks(
                data, without(before, name), without(after, name), ranked=True
            )
    with shown_progress() as progress:
        for number, (label, trial) in enumerate(trials.items()):
            progress(f"trial: {label}", number, len(trials))
            ranks_by_model[label] = trial()
    options.json.write_text(json.dumps(report(ranks_by_model, data.settings.seed), indent=1))


def blind(model: Model) -> Model:
    return replace(model, item_features=np.zeros_like(model.item_features))


def report(ranks_by_model: dict[str, np.ndarray], seed: int) -> list[dict[str, object]]:
    table = Table()
    for name in ("", "recall@10", "ndcg@10", "less everything, 95 %"):
        table.add_column(name, justify="right" if name else "left")
    rows: list[dict[str, object]] = []
    whole = ndcg(ranks_by_model["everything"], 10)
    for name, places in ranks_by_model.items():
        ndcgs = ndcg(places, 10)
        low, high = bootstrap_difference(ndcgs, whole, seed)
        figures = {"recall@10": float(recall(places, 10).mean()), "ndcg@10": float(ndcgs.mean())}
        rows.append({"left_out": name, **figures, "ci95": [low, high]})
        table.add_row(name, *(f"{value:.4f}" for value in figures.values()), f"{low:+.4f} to {high:+.4f}")
    Console().print(table)
    return rows


if __name__ == "__main__":
    main()
