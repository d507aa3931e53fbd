"""The models that a benchmark compares, each tuned on validation and fitted again on all that precedes the test.

`python -m jobs.bench_models FOLDER MODEL SEED OUT` runs one of them in a process of its own, so that the peak of its
memory is its own. A model is a row of `MODELS`: a function from data and seed to an `Answer`.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from features.factors import fit_bm25, fit_factors
from jobs.bench_data import BenchData
from jobs.bench_past import Past, read_past
from jobs.train import fit_model, learn_fusion, recommender, users_before, whiten
from recsys.candidates import Factors
from recsys.errors import RecsysError
from recsys.fusion import Fusion
from recsys.linear import fit_linear
from recsys.metrics import ndcg, target_ranks
from recsys.recommend import Query, Recommender, Slate, batches, top_k
from recsys.split import HeldOut

K: Final = 10
SERVED: Final = 20
"""Length of the served lists that are read: beyond `K`, to see which items tie with the target."""

DECAYS: Final = (0.4, 0.6, 0.8, 1.0)

Scores = Callable[[sp.csr_matrix], np.ndarray]
"""(n, n_items) weighed histories to (n, n_items) scores, which the caller may overwrite."""

Chosen = Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """ranks: (n_targets,) 0-based, ties against the target, at least `K` where it is not among the first; shown:
    (n_targets, K) item rows, padded with -1; fit_s: the last fit, without the search for settings; chosen: these, and
    the NDCG@10 on validation that they were chosen for."""

    ranks: np.ndarray
    shown: np.ndarray
    fit_s: float
    chosen: dict[str, object]


@dataclass(frozen=True)
class Fitting:
    """What a fit reads: `past` is that of one side of the split, `chosen` one entry of the recipe's grid."""

    data: BenchData
    past: Past
    chosen: Chosen
    seed: int


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted, and the settings that it may choose from: those of largest NDCG@10 on validation.

    `fit` returns one or two parts: the score is the first plus `mix` times the second. It is called once for each of
    `grid`; decays (what each step back in a history costs) and mixes are tried on its result.
    """

    fit: Callable[[Fitting], Sequence[Scores]]
    grid: Sequence[Chosen] = ({},)
    decays: Sequence[float] = (1.0,)
    mixes: Sequence[float] = (0.0,)


def run(recipe: Recipe, data: BenchData, seed: int) -> Answer:
    """Tune on validation, fit on everything before the test, rank all items for every test user."""
    item_ids = data.items["item_id"]
    before = read_past(data.validation.held_out, item_ids, data.settings, data.settings.fusion.max_targets)
    trials: list[tuple[float, Chosen, float, float]] = []
    for chosen in recipe.grid:
        parts = recipe.fit(Fitting(data, before, chosen, seed))
        for decay, mix in product(recipe.decays, recipe.mixes):
            trials.append((_ndcg(before, _mixed(parts, mix), decay), chosen, decay, mix))
    reached, chosen, decay, mix = max(trials, key=lambda trial: trial[0])  # of equal ones the first
    past = read_past(data.test.held_out, item_ids, data.settings, None)
    started = monotonic()
    parts = recipe.fit(Fitting(data, past, chosen, seed))
    fit_s = monotonic() - started
    ranks, shown = _lists(past, _mixed(parts, mix), decay)
    told: dict[str, object] = dict(chosen)
    told |= {"decay": decay} if len(recipe.decays) > 1 else {}
    told |= {"mix": mix} if len(recipe.mixes) > 1 else {}
    return Answer(ranks, shown, fit_s, told | {"validation": round(reached, 4)})


def _mixed(parts: Sequence[Scores], mix: float) -> Scores:
    def scores(history: sp.csr_matrix) -> np.ndarray:
        total = parts[0](history)
        for part in parts[1:]:
            if mix:
                total += np.float32(mix) * part(history)
        return total

    return scores


def _ndcg(past: Past, scores: Scores, decay: float) -> float:
    ranks = [target_ranks(batch, past.target_rows[rows]) for rows, batch in _scored(past, scores, decay)]
    return float(ndcg(np.concatenate(ranks), K).mean())


def _lists(past: Past, scores: Scores, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """Ranks and shown rows, as in `Answer`."""
    n_targets = len(past.targets)
    ranks, shown = np.zeros(n_targets, dtype=np.int64), np.full((n_targets, K), -1)
    for rows, batch in _scored(past, scores, decay):
        ranks[rows] = target_ranks(batch, past.target_rows[rows])
        for place, row_scores in enumerate(batch, start=rows.start):
            best = top_k(row_scores, K)
            shown[place, : len(best)] = best
    return ranks, shown


def _scored(past: Past, scores: Scores, decay: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Batch by batch: the targets' positions and their (n, n_items) scores, -inf for what the user had."""
    history, hidden = past.history(decay), past.hidden()
    for rows in batches(len(past.targets), past.n_items):
        batch = scores(history[rows])
        had = hidden[rows].tocoo()
        batch[had.row, had.col] = -np.inf
        yield rows, batch


def _popularity(fitting: Fitting) -> Sequence[Scores]:
    return (lambda history: np.tile(fitting.past.popularity, (history.shape[0], 1)),)


def _als(fitting: Fitting) -> Sequence[Scores]:
    settings = fitting.data.settings.factors
    alpha = fitting.chosen["alpha"]
    asked = {"model": "als", "dim": int(fitting.chosen["dim"]), "alpha": alpha}
    item_factors = fit_factors(fitting.past.seen, settings.model_copy(update=asked), fitting.seed)
    factors = Factors(item_factors, settings.regularization, alpha)

    def scores(history: sp.csr_matrix) -> np.ndarray:
        with threadpool_limits(limits=1, user_api="blas"):  # a busy pool makes small solves a hundred times slower
            folded = factors.user_factors(history)
        return folded @ item_factors.T

    return (scores,)


def _bm25(fitting: Fitting) -> Sequence[Scores]:
    chosen = fitting.chosen
    return (_linear(fit_bm25(fitting.past.seen, int(chosen["neighbours"]), chosen["k1"], chosen["b"])),)


def _ease(fitting: Fitting) -> Sequence[Scores]:
    settings = fitting.data.settings.linear.model_copy(update={**fitting.chosen, "text_weight": 0.0})
    no_text = np.zeros((fitting.past.n_items, 1), dtype=np.float32)
    return (_linear(fit_linear(fitting.past.seen, no_text, settings)),)


def _ease_with_text(fitting: Fitting) -> Sequence[Scores]:
    data = fitting.data
    whitened = whiten(data.inputs(data.test), data.settings)(data.text)  # of the catalogue alone, whatever the side
    settings = data.settings.linear.model_copy(update=dict(fitting.chosen))
    weights = fit_linear(fitting.past.seen, whitened, settings)
    return (_linear(weights), lambda history: (history @ whitened).astype(np.float32) @ whitened.T)


def _linear(weights: sp.csr_matrix) -> Scores:
    return lambda history: (history @ weights).toarray().astype(np.float32, copy=False)


def serve(data: BenchData, seed: int) -> Answer:
    """What the product would answer: its models, the fusion learned on validation, its own path from query to slate."""
    settings = data.settings.model_copy(update={"seed": seed})
    before, held_out = data.inputs(data.validation), data.validation.held_out
    whitening = whiten(before, settings)
    model = fit_model(before, whitening, Fusion(), held_out.as_of, settings)
    _, users = users_before(before, held_out.as_of, settings)
    fusion = learn_fusion(before, model, users, held_out.targets, settings)

    inputs, held_out = data.inputs(data.test), data.test.held_out
    started = monotonic()
    model = fit_model(inputs, whitening, fusion, held_out.as_of, settings)
    fit_s = monotonic() - started
    _, users = users_before(inputs, held_out.as_of, settings)
    ranks, shown = _served_lists(recommender(inputs, model, users, settings), held_out)
    chosen = {**fusion.weights, "fade": str(fusion.fade_items), "decay": fusion.position_decay}
    return Answer(ranks, shown, fit_s, chosen)


def _served_lists(served: Recommender, held_out: HeldOut) -> tuple[np.ndarray, np.ndarray]:
    """Ranks and shown rows, as in `Answer`."""
    targets = held_out.targets
    ranks, shown = np.zeros(len(targets), dtype=np.int64), np.full((len(targets), K), -1)
    for rows in batches(len(targets), served.n_items * len(served.sources)):
        queries = [Query(user_id=user_id, count=SERVED) for user_id in targets["user_id"][rows]]
        for place, slate in enumerate(served.recommend(queries), start=rows.start):
            listed = [served.rows[item.item_id] for item in slate.items[:K]]
            shown[place, : len(listed)] = listed
            ranks[place] = rank_in(slate, targets["item_id"][place])
    return ranks, shown


def rank_in(slate: Slate, item_id: str) -> int:
    """0-based place of the item, behind all that tie with it; the slate's length where it is not in it."""
    scores = [item.score for item in slate.items if item.item_id == item_id]
    if not scores:
        return max(len(slate.items), K)
    return max(item.rank for item in slate.items if item.score == scores[0]) - 1


MODELS: Final[Mapping[str, Callable[[BenchData, int], Answer]]] = {
    "popularity": partial(run, Recipe(_popularity)),
    "implicit ALS": partial(
        run,
        Recipe(_als, [{"dim": dim, "alpha": alpha} for dim in (64, 128) for alpha in (10.0, 40.0)], DECAYS),
    ),
    "implicit BM25": partial(
        run,
        Recipe(_bm25, [{"neighbours": k, "k1": 1.2, "b": b} for k in (100, 500) for b in (0.0, 0.4, 0.8)], DECAYS),
    ),
    "EASE": partial(run, Recipe(_ease, [{"regularization": value} for value in (20.0, 50.0, 100.0, 300.0)], DECAYS)),
    "EASE + text": partial(
        run,
        Recipe(
            _ease_with_text, [{"text_weight": value} for value in (10.0, 30.0, 100.0)], DECAYS, (0.0, 0.02, 0.05, 0.1)
        ),
    ),
    "fused": serve,
}
"""Name -> model, in the order of the table. "fused" is what the product serves."""


def main(arguments: Sequence[str]) -> int:
    """Run one model on a saved `BenchData` and write OUT.npz (ranks, shown) and OUT.json (figures)."""
    folder, name, seed, out = arguments
    try:
        answer = MODELS[name](BenchData.load(Path(folder)), int(seed))
    except RecsysError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    np.savez(f"{out}.npz", ranks=answer.ranks, shown=answer.shown)
    figures = {"fit_s": answer.fit_s, "peak_mb": _peak_mb(), "chosen": answer.chosen}
    Path(f"{out}.json").write_text(json.dumps(figures))
    return 0


def _peak_mb() -> float:
    """Largest resident memory of this process so far, libraries and data included, in MiB.

    From /proc where there is one: `ru_maxrss` also remembers the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
