"""The models that a benchmark compares, each tuned on validation and refitted on all events before the test.

`python -m jobs.bench.models FOLDER MODEL SEED OUT` runs one of them as a separate process, so that its peak memory is
its own. A model is a row of `MODELS`: a function from data and seed to an `Answer`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from features.factors import fit_bm25, fit_factors
from jobs.bench.data import BenchData
from jobs.bench.measured_process import MODEL_RUN, ModelRun
from jobs.bench.product import buy_it_again, sequence, serve, true_taste
from jobs.bench.scoring import Answer, K, Past, answer_of, hide, past_of_test, read_past
from recsys.batch_scoring import batches
from recsys.candidates import Factors
from recsys.errors import RecsysError
from recsys.hardware import peak_memory_mb
from recsys.linear import fit_linear
from recsys.metrics import ndcg, target_ranks
from recsys.sparse_rows import ItemRows
from recsys.whitening import fit_whitening

DECAYS: Final = (0.4, 0.6, 0.8, 1.0)

Scores = Callable[[sp.csr_matrix], np.ndarray]
"""(n, n_items) weighted histories -> (n, n_items) scores, which the caller may overwrite."""

Chosen = Mapping[str, float]


@dataclass(frozen=True)
class Fitting:
    """Input of a fit: `past` of one side of the split, `chosen` one entry of the recipe's grid."""

    data: BenchData
    past: Past
    chosen: Chosen
    seed: int


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted, and its candidate settings; those with the largest NDCG@10 on validation are used.

    `fit` returns one or two parts: the score is the first plus `mix` times the second. It is called once for each entry
    of `grid`, or of `coarse_grid` (if there is one) for catalogues above `linear.max_ease_items`, where a fit takes a
    minute. Decays (the factor per later entry of a history) and mixes are tried on its result.
    """

    fit: Callable[[Fitting], Sequence[Scores]]
    grid: Sequence[Chosen] = ({},)
    coarse_grid: Sequence[Chosen] = ()
    decays: Sequence[float] = (1.0,)
    mixes: Sequence[float] = (0.0,)


def run(recipe: Recipe, data: BenchData, folder: Path, seed: int) -> Answer:  # noqa: ARG001 - shares no fit
    """Tune on validation, fit on all events before the test, rank all items for every test user."""
    item_ids, most = data.items["item_id"], data.settings.fusion.max_targets
    before = read_past(data.validation, item_ids, data.settings, data.repeats, most)
    trials: list[tuple[float, Chosen, float, float]] = []
    large = len(item_ids) > data.settings.linear.max_ease_items
    for chosen in (recipe.coarse_grid if large else ()) or recipe.grid:
        parts = recipe.fit(Fitting(data, before, chosen, seed))
        for decay in recipe.decays:
            reached = _ndcg_by_mix(before, parts, decay, recipe.mixes)
            trials += [(ndcg_of_mix, chosen, decay, mix) for mix, ndcg_of_mix in reached.items()]
    best_ndcg, chosen, decay, mix = max(trials, key=lambda trial: trial[0])  # the first of equal ones
    past = past_of_test(data)
    started = monotonic()
    parts = recipe.fit(Fitting(data, past, chosen, seed))
    fit_s = monotonic() - started
    history = past.history(decay)
    settings: dict[str, object] = dict(chosen)
    settings |= {"decay": decay} if len(recipe.decays) > 1 else {}
    settings |= {"mix": mix} if len(recipe.mixes) > 1 else {}
    settings |= {"validation": round(best_ndcg, 4)}
    return answer_of(past, lambda rows: _mixed([part(history[rows]) for part in parts], mix), fit_s, settings)


def _mixed(scores: Sequence[np.ndarray], mix: float) -> np.ndarray:
    if len(scores) == 1 or not mix:
        return scores[0]
    return scores[0] + np.float32(mix) * scores[1]


def _ndcg_by_mix(past: Past, parts: Sequence[Scores], decay: float, mixes: Sequence[float]) -> dict[float, float]:
    history, hidden = past.history(decay), past.hidden()
    ranks: dict[float, list[np.ndarray]] = {mix: [] for mix in mixes}
    for rows in batches(len(past.targets), past.n_items):
        scores = [part(history[rows]) for part in parts]
        hide(scores[0], hidden[rows])
        for mix in mixes:
            ranks[mix].append(target_ranks(_mixed(scores, mix), past.target_rows[rows]))
    return {mix: float(ndcg(np.concatenate(of_mix), K).mean()) for mix, of_mix in ranks.items()}


def _popularity(fitting: Fitting) -> Sequence[Scores]:
    return (lambda history: np.tile(fitting.past.popularity, (history.shape[0], 1)),)


def _als(fitting: Fitting) -> Sequence[Scores]:
    settings = fitting.data.settings.factors
    alpha = fitting.chosen["alpha"]
    changes = {"model": "als", "dim": int(fitting.chosen["dim"]), "alpha": alpha}
    item_factors = fit_factors(fitting.past.seen, settings.model_copy(update=changes), fitting.seed)
    factors = Factors(item_factors, settings.regularization, alpha)

    def scores(history: sp.csr_matrix) -> np.ndarray:
        with threadpool_limits(limits=1, user_api="blas"):  # a busy pool makes small solves a hundred times slower
            folded = factors.user_factors(ItemRows.of_matrix(history))
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
    whitened = fit_whitening(data.text, data.settings.fusion.text_dim)(data.text)  # the same on either side
    settings = data.settings.linear.model_copy(update=dict(fitting.chosen))
    weights = fit_linear(fitting.past.seen, whitened, settings)
    return (_linear(weights), lambda history: (history @ whitened).astype(np.float32) @ whitened.T)


def _linear(weights: sp.csr_matrix) -> Scores:
    return lambda history: (history @ weights).toarray().astype(np.float32, copy=False)


MODELS: Final[Mapping[str, Callable[[BenchData, Path, int], Answer]]] = {
    "popularity": partial(run, Recipe(_popularity)),
    "implicit ALS": partial(
        run,
        Recipe(_als, [{"dim": dim, "alpha": alpha} for dim in (64, 128) for alpha in (10.0, 40.0)], decays=DECAYS),
    ),
    "implicit BM25": partial(
        run,
        Recipe(
            _bm25,
            [{"neighbours": k, "k1": 1.2, "b": b} for k in (100, 500) for b in (0.0, 0.4, 0.8)],
            coarse_grid=[{"neighbours": 100, "k1": 1.2, "b": b} for b in (0.0, 0.4, 0.8)],
            decays=DECAYS,
        ),
    ),
    "EASE": partial(
        run,
        Recipe(
            _ease,
            [{"regularization": value} for value in (20.0, 50.0, 100.0, 300.0)],
            coarse_grid=[{"regularization": value} for value in (20.0, 100.0)],
            decays=DECAYS,
        ),
    ),
    "EASE + text": partial(
        run,
        Recipe(
            _ease_with_text,
            [{"text_weight": value} for value in (10.0, 30.0, 100.0)],
            coarse_grid=[{"text_weight": value} for value in (10.0, 30.0)],
            decays=DECAYS,
            mixes=(0.0, 0.02, 0.05, 0.1),
        ),
    ),
    "buy it again": buy_it_again,
    "sequence without text": partial(sequence, with_text=False),
    "sequence": partial(sequence, with_text=True),
    "fused": partial(serve, new_item_share=0.0),
    "fused + new": partial(serve, new_item_share=None),
    "fused without visit": partial(serve, new_item_share=0.0, with_visits=False),
    "true taste": true_taste,
}
"""Name -> model, in the order of the table. "fused" and "fused + new" are the served lists without and with reserved
places for new items; "buy it again" is measured if repeats count. "fused without visit" and "true taste", which do not
use the events of the current visit, are measured on a simulated shop."""


def main(arguments: Sequence[str]) -> int:
    """Run one model on a saved `BenchData` and write OUT.npz (ranks, shown) and OUT.json (figures)."""
    folder, name, seed, out = arguments
    try:
        answer = MODELS[name](BenchData.load(Path(folder)), Path(folder), int(seed))
    except RecsysError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    np.savez(f"{out}.npz", ranks=answer.ranks, shown=answer.shown)
    figures = ModelRun(answer.fit_s, peak_memory_mb(), answer.chosen)
    Path(f"{out}.json").write_bytes(MODEL_RUN.dump_json(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
