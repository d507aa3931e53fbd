"""Behaviour and text vectors become a model; its fusion weights are learned on a later slice of time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from features.factors import fit_factors
from recsys import candidates
from recsys.config import Settings
from recsys.fusion import DECAYS, Fusion, Pool, fit_fusion, join_pools, make_pool
from recsys.interactions import histories, interactions, matrix, positions, time_decay
from recsys.linear import fit_linear
from recsys.model import Model
from recsys.recommend import Query, Recommender, batches
from recsys.users import HISTORY, Users, history_table, users_from_table
from recsys.whitening import Whitening, fit_whitening

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What training reads, the same for every cut of time.

    items: item_id, title, available, ascending by item_id; events: user_id, item_id, event_type, timestamp, value;
    text: (n_items, dim) vectors; browsing: user_id, timestamp and text_row of each search or page text, newest last,
    text_row pointing into browsing_vectors (n_texts, dim).
    """

    items: pl.DataFrame
    events: pl.DataFrame
    text: np.ndarray
    browsing: Callable[[datetime], tuple[list[str], np.ndarray]]


def fit_model(inputs: Inputs, whitening: Whitening, fusion: Fusion, as_of: datetime, settings: Settings) -> Model:
    """A model of all that happened before `as_of`; `fusion` is taken as it is."""
    item_ids = inputs.items["item_id"]
    whitened = whitening(inputs.text)
    pairs = interactions(_history(inputs, as_of, settings))
    user_ids = pairs["user_id"].unique().sort()
    seen = matrix(pairs, user_ids, item_ids)
    decay = time_decay(pairs["timestamp"], as_of, settings.interactions.half_life_days)
    weight = pairs["weight"].to_numpy() / max(settings.interactions.purchase, 1e-9)
    decayed = matrix(pairs, user_ids, item_ids, weight * np.maximum(decay, 0.05))
    trend = time_decay(pairs["timestamp"], as_of, settings.recommend.trending_half_life_days)
    trending = np.asarray(matrix(pairs, user_ids, item_ids, weight * (trend + 0.001)).sum(axis=0)).ravel()
    return Model(
        item_ids=item_ids,
        linear=fit_linear(seen, whitened, settings.linear),
        factors=candidates.Factors(
            fit_factors(decayed, settings.factors, settings.seed),
            settings.factors.regularization,
            settings.factors.alpha,
            "als" if settings.factors.model == "als" else "mean",
        ),
        text=inputs.text,
        whitened=whitened,
        whitening=whitening,
        popularity=np.asarray((seen > 0).sum(axis=0)).ravel().astype(np.float32),
        trend=np.log1p(trending).astype(np.float32),
        fusion=fusion,
    )


def users_before(inputs: Inputs, as_of: datetime, settings: Settings) -> tuple[pl.DataFrame, Users]:
    """The `users` table (user_id, history) at `as_of`, and the same as arrays."""
    history = history_table(_history(inputs, as_of, settings), settings.interactions.max_history)
    browsing_ids, browsing = inputs.browsing(as_of)
    ids = pl.Series("user_id", sorted({*history["user_id"].to_list(), *browsing_ids}), dtype=pl.String)
    table = ids.to_frame().join(history, on="user_id", how="left", maintain_order="left")
    table = table.with_columns(pl.col("history").fill_null(pl.lit([], dtype=HISTORY)))
    profiles = np.zeros((len(table), inputs.text.shape[1]), dtype=np.float32)
    profiles[positions(pl.Series(browsing_ids, dtype=pl.String), ids)] = browsing
    return table, users_from_table(table, profiles, inputs.items["item_id"])


def recommender(inputs: Inputs, model: Model, users: Users, settings: Settings) -> Recommender:
    """What the service would load."""
    return Recommender.of_release(model, users, inputs.items, settings)


def learn_fusion(inputs: Inputs, model: Model, users: Users, targets: pl.DataFrame, settings: Settings) -> Fusion:
    """The fusion that ranks `targets` (user_id, item_id) best; they lie after all that `model` has seen.

    With fewer than `fusion.min_targets` targets there is nothing to learn from and the model's own fusion is kept.
    """
    targets = sample_rows(targets, settings.fusion.max_targets, settings.seed)
    if len(targets) < settings.fusion.min_targets:
        log.info("fusion kept targets=%d needed=%d", len(targets), settings.fusion.min_targets)
        return model.fusion
    best, best_ndcg = model.fusion, -1.0
    for decay in DECAYS:
        start = replace(model.fusion, position_decay=decay)
        trial = recommender(inputs, replace(model, fusion=start), users, settings)
        fusion, reached = fit_fusion(_pool(trial, targets, settings), start)
        if reached > best_ndcg:
            best, best_ndcg = fusion, reached
    return best


def _pool(trial: Recommender, targets: pl.DataFrame, settings: Settings) -> Pool:
    target_rows = positions(targets["item_id"], trial.model.item_ids)
    fitted = [place for place, source in enumerate(trial.sources) if source.name in trial.model.fusion.weights]
    names = [trial.sources[place].name for place in fitted]
    pools = []
    for batch in batches(len(targets), trial.n_items * len(trial.sources)):
        queries = [Query(user_id=user_id) for user_id in targets["user_id"][batch]]
        scores, allowed = trial.score(queries)
        pools.append(
            make_pool(names, scores[fitted], allowed, trial.model.popularity, target_rows[batch], settings.fusion.pool)
        )
    return join_pools(pools)


def sample_rows(targets: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    """At most `n` rows, drawn with `seed`, in the order they had."""
    if len(targets) <= n:
        return targets
    return targets.with_row_index().sample(n, seed=seed, shuffle=False).sort("index").drop("index")


def whiten(inputs: Inputs, settings: Settings) -> Whitening:
    """Learned from the catalogue's texts alone, so it looks into nobody's future."""
    return fit_whitening(inputs.text, settings.fusion.text_dim)


def _history(inputs: Inputs, as_of: datetime, settings: Settings) -> pl.DataFrame:
    before = inputs.events.lazy().filter(pl.col("timestamp") < as_of)
    return histories(before, settings.interactions).collect()
