"""The benchmark's models from the product, and two references: past purchases, and the simulated true tastes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Final, TypeVar

import numpy as np
import polars as pl

from jobs.bench.data import BenchData, Side
from jobs.bench.scoring import Answer, K, answer_of, past_of_test
from jobs.training.fit import fit_model, learn_fusion, learn_ranker, recommender, users_of, whiten
from jobs.training.held_out_requests import requests
from jobs.training.warm_start import SequenceFits, histories_of
from recsys.batch_scoring import query_batches
from recsys.config import Settings
from recsys.fusion import Fusion
from recsys.interactions import matrix, positions
from recsys.model import Model
from recsys.recommend import Recommender
from recsys.sequence import SequenceModel
from recsys.simulate.truth import load_truth
from recsys.slate import Slate
from recsys.split import HeldOut

T = TypeVar("T")

SECONDS_FILE: Final = "seconds.json"
"""A number: the seconds of the fit."""


def fitted_sequence(
    data: BenchData, folder: Path, seed: int, side: Side, *, with_text: bool
) -> tuple[SequenceModel, float]:
    """The sequence model of the events of `side`, "validation" or "test", and the seconds of its fit.

    On validation, early stopping uses the targets, as the nightly run uses the validation days.
    """
    fit_folder = folder / f"sequence-{side}-{'text' if with_text else 'ids'}-{seed}"

    def fit() -> tuple[SequenceModel, float]:
        settings = data.settings.model_copy(update={"seed": seed})
        inputs = data.inputs(data.held_out(side), with_text=with_text)
        whitening = whiten(inputs, settings)
        _, users = users_of(inputs, settings)
        with TemporaryDirectory(prefix="training-", dir=folder) as place:
            fits = SequenceFits(Path(place), data.items["item_id"], settings)
            if side == "validation":
                fit = fits.measured(data.validation.targets, None)
            else:  # with or without text
                fit = fits.again("test", fitted_sequence(data, folder, seed, "validation", with_text=True)[0])
            started = monotonic()
            texts = (whitening(data.text), whitening(users.texts)) if with_text else (None, None)
            return fit(users, *texts), monotonic() - started

    return _once(fit_folder, fit, SequenceModel.save, SequenceModel.load)


def served_model(data: BenchData, folder: Path, seed: int) -> tuple[Model, float]:
    """The model that the product would publish, with fusion and ranker learned on the validation targets, and the
    seconds of the last fit of its models."""
    settings = data.settings.model_copy(update={"seed": seed})

    def fit() -> tuple[Model, float]:
        first, _ = fitted_model(data, folder, settings, "validation")
        inputs = data.inputs(data.validation)
        _, users = users_of(inputs, settings)
        fusion = learn_fusion(inputs, first, users, data.validation, settings)
        ranker = learn_ranker(inputs, replace(first, fusion=fusion), users, data.validation, settings)
        last, seconds = fitted_model(data, folder, settings, "test")
        return replace(last, fusion=fusion, ranker=ranker), seconds

    return _once(folder / f"served-{seed}", fit, Model.save, Model.load)


def fitted_model(data: BenchData, folder: Path, settings: Settings, side: Side) -> tuple[Model, float]:
    """All models of the events of `side`, with the default fusion and no ranker, and the seconds of their fits."""
    held_out = data.held_out(side)
    inputs = data.inputs(held_out)
    _, users = users_of(inputs, settings)
    sequence, sequence_s = fitted_sequence(data, folder, settings.seed, side, with_text=True)
    started = monotonic()
    model = fit_model(
        inputs, users, whiten(inputs, settings), Fusion(), None, held_out.as_of, settings, lambda *_: sequence
    )
    return model, sequence_s + monotonic() - started


def _once(
    folder: Path, fit: Callable[[], tuple[T, float]], save: Callable[[T, Path], None], load: Callable[[Path], T]
) -> tuple[T, float]:
    """The result of `fit` and its seconds, saved in `folder` and loaded from there if it exists."""
    seconds_file = folder / SECONDS_FILE
    if not seconds_file.exists():
        model, seconds = fit()
        save(model, folder)
        seconds_file.write_text(str(seconds))
    return load(folder), float(seconds_file.read_text())


SERVED: Final = 20
"""Length of the served lists: longer than `K`, to see which items tie with the target."""


def sequence(data: BenchData, folder: Path, seed: int, *, with_text: bool) -> Answer:
    """The sequence model alone: its query vectors against its item vectors."""
    model, fit_s = fitted_sequence(data, folder, seed, "test", with_text=with_text)
    inputs = data.inputs(data.test, with_text=with_text, with_visits=True)
    _, users = users_of(inputs, data.settings)
    texts = whiten(inputs, data.settings)(users.texts) if with_text else None
    past = past_of_test(data)
    query_vectors = model.query_vectors(histories_of(users, past.targets), texts)
    return answer_of(past, lambda rows: query_vectors[rows] @ model.item_vectors.T, fit_s, {})


def buy_it_again(data: BenchData, folder: Path, seed: int) -> Answer:  # noqa: ARG001 - nothing is drawn or saved
    """Each user's past purchases, by the number of days on which they were bought."""
    bought = (
        data.test.events.filter(pl.col("event_type").cast(pl.String) == "purchase")
        .group_by("user_id", "item_id")
        .agg(days=pl.col("timestamp").dt.date().n_unique())
    )
    past = past_of_test(data)
    counts = matrix(bought, past.targets["user_id"], data.items["item_id"], bought["days"].to_numpy())
    return answer_of(past, lambda rows: counts[rows].toarray(), 0.0, {})


def serve(
    data: BenchData, folder: Path, seed: int, *, new_item_share: float | None, with_visits: bool = True
) -> Answer:
    """The lists that the product would serve: its models, its fusion learned on validation, and its serving code.

    new_item_share: share of places reserved for new items; None takes it from the settings. with_visits: whether
    requests contain the events of the current visit.
    """
    settings = data.settings.model_copy(update={"seed": seed})
    if new_item_share is not None:
        new_items = settings.new_items.model_copy(update={"share": new_item_share})
        settings = settings.model_copy(update={"new_items": new_items})
    model, fit_s = served_model(data, folder, seed)
    inputs = data.inputs(data.test)
    _, users = users_of(inputs, settings)
    held_out = data.test if with_visits else replace(data.test, since=data.test.since.clear())
    ranks, shown = served_lists(recommender(inputs, model, users, settings), held_out, data.read_text)
    fusion = model.fusion
    chosen = {**fusion.weights, "fade": str(fusion.fade_items), "decay": fusion.position_decay}
    return Answer(ranks, shown, fit_s, chosen | {"ranker": model.ranker is not None})


def served_lists(served: Recommender, held_out: HeldOut, read_text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks and shown rows, as in `Answer`, of requests whose session is the current visit."""
    queries, item_ids = requests(held_out, read_text, SERVED), held_out.targets["item_id"].to_list()
    ranks, shown = np.zeros(len(queries), dtype=np.int64), np.full((len(queries), K), -1)
    for rows in query_batches(served, len(queries)):
        for place, slate in enumerate(served.recommend(queries[rows]), start=rows.start):
            listed = [served.rows[item.item_id] for item in slate.items[:K]]
            shown[place, : len(listed)] = listed
            ranks[place] = rank_in(slate, item_ids[place])
    return ranks, shown


def rank_in(slate: Slate, item_id: str) -> int:
    """0-based rank of the item, after all items that tie with it; the slate's length, at least `K`, if it is absent."""
    scores = [item.score for item in slate.items if item.item_id == item_id]
    if not scores:
        return max(len(slate.items), K)
    return max(item.rank for item in slate.items if item.score == scores[0]) - 1


def true_taste(data: BenchData, folder: Path, seed: int) -> Answer:  # noqa: ARG001 - nothing is drawn
    """The ceiling on a simulated storefront: items ranked by how much the shopper truly likes them."""
    truth = load_truth(folder)
    past = past_of_test(data)
    users = positions(past.targets["user_id"], pl.Series(truth.user_ids))
    items = positions(data.items["item_id"], pl.Series(truth.item_ids))
    return answer_of(past, lambda rows: truth.preference(users[rows], items), 0.0, {})
