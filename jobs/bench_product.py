"""The rows of a benchmark that are the product's own, and what they are held against: habit, and the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from jobs.bench_answer import Answer, K, answer_of, past_of_test
from jobs.bench_data import BenchData
from jobs.bench_fits import fitted_sequence, served_model
from jobs.requests import requests
from jobs.train import recommender, users_of, whiten
from jobs.warm_start import histories_of
from recsys.interactions import matrix, positions
from recsys.recommend import Recommender
from recsys.simulate.truth import load_truth
from recsys.slate import Slate
from recsys.split import HeldOut

SERVED: Final = 20
"""Length of the served lists that are read: beyond `K`, to see which items tie with the target."""


def sequence(data: BenchData, folder: Path, seed: int, *, with_text: bool) -> Answer:
    """The sequence model alone: its query vectors against its item vectors."""
    model, fit_s = fitted_sequence(data, folder, seed, "test", with_text=with_text)
    inputs = data.inputs(data.test, with_text=with_text, with_visits=True)
    _, users = users_of(inputs, data.settings)
    texts = whiten(inputs, data.settings)(users.texts) if with_text else None
    past = past_of_test(data)
    wanted = model.query_vectors(histories_of(users, past.targets), texts)
    return answer_of(past, lambda rows: wanted[rows] @ model.item_vectors.T, fit_s, {})


def buy_it_again(data: BenchData, folder: Path, seed: int) -> Answer:  # noqa: ARG001 - nothing is drawn or kept
    """Each user's own items, by the number of days on which they were bought."""
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
    """What the product would answer: its models, the fusion learned on validation, its own path from query to slate.

    new_item_share: of the places that are kept for new items; None as the settings have it. with_visits: whether the
    requests say what the shopper did in this visit.
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
    """Ranks and shown rows, as in `Answer`, of requests that hold the visit as their session."""
    queries, item_ids = requests(held_out, read_text, SERVED), held_out.targets["item_id"].to_list()
    ranks, shown = np.zeros(len(queries), dtype=np.int64), np.full((len(queries), K), -1)
    for rows in served.batches(len(queries)):
        for place, slate in enumerate(served.recommend(queries[rows]), start=rows.start):
            listed = [served.rows[item.item_id] for item in slate.items[:K]]
            shown[place, : len(listed)] = listed
            ranks[place] = rank_in(slate, item_ids[place])
    return ranks, shown


def rank_in(slate: Slate, item_id: str) -> int:
    """0-based place of the item, behind all that tie with it; the slate's length where it is not in it."""
    scores = [item.score for item in slate.items if item.item_id == item_id]
    if not scores:
        return max(len(slate.items), K)
    return max(item.rank for item in slate.items if item.score == scores[0]) - 1


def true_taste(data: BenchData, folder: Path, seed: int) -> Answer:  # noqa: ARG001 - nothing is drawn
    """The ceiling on a simulated storefront: every item by how much the shopper truly likes it."""
    truth = load_truth(folder)
    past = past_of_test(data)
    users = positions(past.targets["user_id"], pl.Series(truth.user_ids))
    items = positions(data.items["item_id"], pl.Series(truth.item_ids))
    return answer_of(past, lambda rows: truth.preference(users[rows], items), 0.0, {})
