"""Fits a model of behaviour and text vectors; learns its fusion weights and ranker on later, held-out days."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import numpy as np
import polars as pl

from features.factors import fit_factors
from features.text.browsing_profile import browsing_profiles
from jobs.training.held_out_requests import requests, sampled
from recsys import candidates
from recsys.batch_scoring import query_batches, ranker_proposals, source_scores
from recsys.config import Settings
from recsys.fusion import DECAYS, Fusion, Pool, fit_fusion, join_pools, make_pool
from recsys.interactions import daily, histories, interactions, matrix, positions, time_decay
from recsys.linear import fit_linear
from recsys.metrics import bootstrap_difference
from recsys.model import Model
from recsys.new_items import learn_trials, promise
from recsys.query import Query
from recsys.rank_features import item_features
from recsys.ranking import Ranker, fit_ranker, ranked_ndcg
from recsys.recommend import Recommender
from recsys.repeats import learn_repeats
from recsys.sequence import SequenceModel
from recsys.split import HeldOut, next_items
from recsys.users import HISTORY, Users, history_table, users_from_table
from recsys.whitening import Whitening, fit_whitening

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Inputs:
    """What training reads, the same for every cut of time.

    items: item_id, title, available, ascending by item_id; events: user_id, item_id, event_type, timestamp, value;
    impressions: user_id, item_id, timestamp, position; text: (n_items, dim) vectors; read: user_id, timestamp,
    event_type, text_row of each search or page text, newest last, text_row pointing into read_text (n_texts, dim).
    """

    items: pl.DataFrame
    events: pl.DataFrame
    impressions: pl.DataFrame
    text: np.ndarray
    read: pl.DataFrame
    read_text: np.ndarray

    def before(self, as_of: datetime) -> Inputs:
        """The part that was known at `as_of`."""
        known = pl.col("timestamp") < as_of
        return replace(
            self,
            events=self.events.filter(known),
            impressions=self.impressions.filter(known),
            read=self.read.filter(known),
        )


FitSequence = Callable[[Users, np.ndarray | None, np.ndarray | None], SequenceModel]
"""Makes the sequence model of users, the items' whitened texts, and the whitened texts that the users read."""


def fit_model(
    inputs: Inputs,
    users: Users,
    whitening: Whitening,
    fusion: Fusion,
    ranker: Ranker | None,
    as_of: datetime,
    settings: Settings,
    fit_sequence: FitSequence,
) -> Model:
    """A model of `inputs`, all of which happened before `as_of`, with this `fusion` and `ranker`. users: of the same
    inputs."""
    item_ids = inputs.items["item_id"]
    whitened = whitening(inputs.text)
    pairs = interactions(history_of(inputs.events, settings))
    user_ids = pairs["user_id"].unique().sort()
    seen = matrix(pairs, user_ids, item_ids)
    decay = time_decay(pairs["timestamp"], as_of, settings.interactions.half_life_days)
    weight = pairs["weight"].to_numpy() / max(settings.interactions.purchase, 1e-9)
    decayed = matrix(pairs, user_ids, item_ids, weight * np.maximum(decay, 0.05))
    trending = _trending(inputs.events, item_ids, as_of, settings)
    repeats, repeat_rates = learn_repeats(inputs.events, item_ids, settings.repeats)
    expected, successes = learn_trials(inputs.impressions, inputs.events, item_ids)
    return Model(
        item_ids=item_ids,
        sequence=fit_sequence(users, whitened, whitening(users.texts)),
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
        repeats=repeats,
        repeat_rates=repeat_rates,
        promise=promise(expected, successes, settings.new_items),
        item_features=item_features(inputs.events, inputs.items, as_of),
        fusion=fusion,
        ranker=ranker,
    )


def _trending(events: pl.DataFrame, item_ids: pl.Series, as_of: datetime, settings: Settings) -> np.ndarray:
    """(n_items,) sum over shoppers and days of what they did with the item, in purchases, by age."""
    days = daily(events.lazy(), settings.interactions).collect(engine="in-memory")
    decay = time_decay(days["timestamp"], as_of, settings.recommend.trending_half_life_days)
    weights = days["weight"].to_numpy() / max(settings.interactions.purchase, 1e-9) * (decay + 0.001)
    rows = positions(days["item_id"], item_ids)
    known = rows >= 0
    return np.bincount(rows[known], weights[known], minlength=len(item_ids))


def history_of(events: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """`histories`, by the engine that sorts any number of rows (docs/decisions.md)."""
    return histories(events.lazy(), settings.interactions).collect(engine="in-memory")


def users_of(inputs: Inputs, settings: Settings) -> tuple[pl.DataFrame, Users]:
    """The `users` table (user_id, history), and the same as arrays."""
    history = history_of(inputs.events, settings)
    limits = (settings.interactions.max_history, settings.embed.max_browsing_texts)
    histories, texts = _without_unused_texts(history_table(history, inputs.read, *limits), inputs.read_text)
    vectors = inputs.read_text[inputs.read["text_row"].to_numpy()]
    browsing_ids, browsing = browsing_profiles(inputs.read, vectors, settings.embed)
    ids = pl.Series("user_id", sorted({*histories["user_id"].to_list(), *browsing_ids}), dtype=pl.String)
    table = ids.to_frame().join(histories, on="user_id", how="left", maintain_order="left")
    table = table.with_columns(pl.col("history").fill_null(pl.lit([], dtype=HISTORY)))
    profiles = np.zeros((len(table), inputs.text.shape[1]), dtype=np.float32)
    profiles[positions(pl.Series(browsing_ids, dtype=pl.String), ids)] = browsing
    return table, users_from_table(table, profiles, texts, inputs.items["item_id"])


def _without_unused_texts(table: pl.DataFrame, read_text: np.ndarray) -> tuple[pl.DataFrame, np.ndarray]:
    """The table with text rows renumbered over the texts that a history still holds, and the vectors of these."""
    used = table["history"].explode(empty_as_null=True).struct.field("text_row").drop_nulls().unique().sort()
    if used.is_empty():
        return table, np.zeros((0, read_text.shape[1]), dtype=np.float32)
    renumbered = pl.element().struct.with_fields(
        pl.field("text_row").replace_strict(used, pl.int_range(len(used), dtype=pl.Int32, eager=True), default=None)
    )
    return table.with_columns(pl.col("history").list.eval(renumbered)), read_text[used.to_numpy()]


def recommender(inputs: Inputs, model: Model, users: Users, settings: Settings) -> Recommender:
    """The recommender as the service would load it."""
    return Recommender.of_release(model, users, inputs.items, settings)


def learn_fusion(inputs: Inputs, model: Model, users: Users, held_out: HeldOut, settings: Settings) -> Fusion:
    """The fusion that ranks the targets of `held_out` best, which `model` has not seen.

    With fewer than `fusion.min_targets` targets the model's own fusion is returned.
    """
    held_out = sampled(held_out, settings.fusion.max_targets, settings.seed)
    n_targets = len(held_out.targets)
    if n_targets < settings.fusion.min_targets:
        log.info("fusion_not_learned targets=%d needed=%d", n_targets, settings.fusion.min_targets)
        return model.fusion
    queries, target_rows = requests(held_out, inputs.read_text), positions(held_out.targets["item_id"], model.item_ids)
    best, best_ndcg = model.fusion, -1.0
    for decay in DECAYS:
        start = replace(model.fusion, position_decay=decay, session_text=1.0)
        trial = recommender(inputs, replace(model, fusion=start), users, settings)
        fusion, reached = fit_fusion(_pool(trial, queries, target_rows, settings.fusion.pool), start)
        if reached > best_ndcg:
            best, best_ndcg = fusion, reached
    return best


def learn_ranker(inputs: Inputs, model: Model, users: Users, held_out: HeldOut, settings: Settings) -> Ranker | None:
    """The ranker of the targets of `held_out`, which `model` has not seen, where it beats the weighted sum; else None.

    A ranker fitted on one half of the shoppers is compared on the other half; if it wins, it is fitted again on all.
    With fewer than `ranking.min_targets` shoppers, or where the sources propose none of their choices, there is none.
    """
    known = next_items(held_out.targets.filter(pl.col("user_id").is_in(list(users.rows))))
    held_out = sampled(replace(held_out, targets=known), settings.ranking.max_targets, settings.seed)
    target_rows = positions(held_out.targets["item_id"], model.item_ids)
    if len(target_rows) < settings.ranking.min_targets:
        log.info("ranker_not_learned targets=%d needed=%d", len(target_rows), settings.ranking.min_targets)
        return None
    trial = recommender(inputs, model, users, settings)
    queries = requests(held_out, inputs.read_text)
    proposals, sums = [], []
    for batch in query_batches(trial, len(queries)):
        for proposal, total in ranker_proposals(trial, queries[batch]):
            proposals.append(proposal)
            sums.append(total)
    teaches = np.random.default_rng(settings.seed).permutation(len(queries)) % 2 == 0
    proposed = [target in candidate.item_rows for target, candidate in zip(target_rows, proposals, strict=True)]
    if not np.any(proposed, where=teaches):
        log.info("ranker_not_learned targets=%d proposed=%d", len(queries), sum(proposed))
        return None
    names = trial.feature_names
    half = fit_ranker(_chosen(proposals, teaches), target_rows[teaches], names, settings.ranking, settings.seed)
    judging = _chosen(proposals, ~teaches)
    by_sum = ranked_ndcg(_chosen(sums, ~teaches), judging, target_rows[~teaches])
    by_trees = ranked_ndcg([half.scores(candidate.features) for candidate in judging], judging, target_rows[~teaches])
    low, high = bootstrap_difference(by_trees, by_sum, settings.seed)
    log.info(
        "ranker_compared ndcg=%.4f weighted_sum=%.4f difference=%.4f..%.4f", by_trees.mean(), by_sum.mean(), low, high
    )
    if by_trees.mean() <= by_sum.mean():
        return None
    return fit_ranker(proposals, target_rows, names, settings.ranking, settings.seed)


def _chosen(rows: list[T], mask: np.ndarray) -> list[T]:
    return [rows[place] for place in np.flatnonzero(mask)]


def _pool(trial: Recommender, queries: list[Query], target_rows: np.ndarray, size: int) -> Pool:
    names, popularity = [source.name for source in trial.sources], trial.model.popularity
    pools = []
    for batch in query_batches(trial, len(queries)):
        scores, allowed, text_weights = source_scores(trial, queries[batch])
        pools.append(make_pool(names, scores, allowed, text_weights, popularity, target_rows[batch], size))
    return join_pools(pools)


def whiten(inputs: Inputs, settings: Settings) -> Whitening:
    """Learned from the catalogue's texts alone, so it uses no future behaviour."""
    return fit_whitening(inputs.text, settings.fusion.text_dim)
