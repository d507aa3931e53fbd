"""Compares the candidate with the served release on the same last days: paired, slice by slice.

Each release stores its trial, a model of the data before its own held-out days. Both trials answer the requests of the
candidate's held-out days, which neither has seen, with the same histories. An item that is not in the served release
counts as a miss for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from pydantic import computed_field

from jobs.gate.findings import Finding, Severity
from jobs.training.fit import Inputs, users_of
from jobs.training.held_out_requests import requests, sampled
from recsys import config
from recsys.batch_scoring import shown_rows
from recsys.config import Settings
from recsys.interactions import positions
from recsys.metrics import bootstrap_difference, ndcg, shown_ranks
from recsys.model import Model
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.slices import category_slices, frequency_slices, history_slices
from recsys.split import HeldOut
from recsys.users import HISTORY, users_from_table

K: Final = 10


@dataclass(frozen=True)
class SliceChange:
    """Mean NDCG of the candidate and of the served release over `n_users`, and the interval of their difference."""

    name: str
    n_users: int
    candidate: float
    served: float
    low: float
    high: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def relative(self) -> float:
        """Change as a share of the served release's NDCG."""
        return round((self.candidate - self.served) / self.served, 6) if self.served > 0 else 0.0


@dataclass(frozen=True)
class Comparison:
    """By slice; n_shown, n_shown_served: distinct items in the lists of the candidate and of the served release."""

    slices: tuple[SliceChange, ...]
    n_shown: int
    n_shown_served: int


def trials(
    known: Inputs,
    model: Model,
    settings: Settings,
    served: Model | None,
    served_settings: Settings | None,
    is_same_encoder: bool,
) -> tuple[Recommender, Recommender | None]:
    """The candidate's trial, and the served release's with the same shoppers and catalogue; None without one.

    known: the data before the held-out days. A model cannot use the vectors of another encoder, so where the two
    releases have different ones, neither gets what shoppers searched for and read.
    """
    table, users = users_of(known, settings)
    browsing, texts = users.browsing, users.texts
    if not is_same_encoder:
        table, browsing, texts = without_texts(table), np.zeros_like(browsing), texts[:0]
        users = users_from_table(table, browsing, texts, model.item_ids)
    candidate = Recommender.of_release(model, users, known.items, settings)
    if served is None or served_settings is None:
        return candidate, None
    if not is_same_encoder:
        dim = served.text.shape[1]
        browsing, texts = np.zeros((len(table), dim), np.float32), np.zeros((0, dim), np.float32)
    served_users = users_from_table(table, browsing, texts, served.item_ids)
    items = served.item_ids.to_frame("item_id").join(known.items, on="item_id", how="left", maintain_order="left")
    items = items.with_columns(pl.col("available").fill_null(value=False))
    return candidate, Recommender.of_release(served, served_users, items, served_settings)


def without_texts(users: pl.DataFrame) -> pl.DataFrame:
    """The table with histories of items alone."""
    items = pl.element().filter(pl.element().struct.field("text_row").is_null())
    return users.with_columns(pl.col("history").list.eval(items).cast(HISTORY))


def without_read(held_out: HeldOut) -> HeldOut:
    """With visits of items alone."""
    return replace(held_out, since=held_out.since.filter(pl.col("item_id").is_not_null()))


def compare(
    candidate: Recommender,
    served: Recommender,
    held_out: HeldOut,
    read_text: np.ndarray,
    categories: pl.DataFrame,
    settings: config.GateSettings,
    seed: int,
) -> Comparison:
    """held_out: one target a user; read_text: as in `requests`; categories: item_id, category."""
    held_out = sampled(held_out, settings.max_users, seed)
    queries, target_ids = requests(held_out, read_text, K), held_out.targets["item_id"]
    gains, n_shown = _gains(candidate, queries, target_ids)
    gains_served, n_shown_served = _gains(served, queries, target_ids)
    slices = tuple(
        _change(name, gains[members], gains_served[members], settings.confidence_level, seed)
        for name, members in _slices(candidate, held_out.targets, categories).items()
    )
    return Comparison(slices, n_shown, n_shown_served)


def group_quality(
    candidate: Recommender, held_out: HeldOut, read_text: np.ndarray, settings: config.GateSettings, seed: int
) -> dict[str, float]:
    """Mean NDCG of the candidate by length of the shopper's history, of groups of at least `min_users`."""
    held_out = sampled(held_out, settings.max_users, seed)
    queries, target_ids = requests(held_out, read_text, K), held_out.targets["item_id"]
    gains, _ = _gains(candidate, queries, target_ids)
    known = [candidate.users.history(user_id).item_rows for user_id in held_out.targets["user_id"]]
    groups = history_slices(np.array([(rows >= 0).sum() for rows in known]))
    return {
        name: float(gains[members].mean()) for name, members in groups.items() if members.sum() >= settings.min_users
    }


def quality_findings(comparison: Comparison, settings: config.GateSettings) -> list[Finding]:
    """One per slice with enough shoppers, and one of the coverage of all lists."""
    judged = [change for change in comparison.slices if change.n_users >= settings.min_users]
    findings = []
    for change in judged:
        limit = settings.max_loss if change.name == "all" else settings.max_slice_loss
        is_worse = change.high < 0
        severity: Severity = "ok" if not is_worse else "stop" if change.relative < -limit else "warning"
        says = (
            f"NDCG {change.candidate:.4f}, served release {change.served:.4f} on the same {change.n_users:,} choices "
            f"({change.relative:+.1%}; interval of the difference {change.low:+.4f} to {change.high:+.4f})"
        )
        remedy = "" if severity == "ok" else "run `recsys releases diff` to see which settings or data changed"
        findings.append(Finding(f"quality, {change.name}", change.relative, -limit, math.inf, severity, says, remedy))
    return [*findings, _coverage(comparison, settings)] if judged else []


def _coverage(comparison: Comparison, settings: config.GateSettings) -> Finding:
    shown, before = comparison.n_shown, comparison.n_shown_served
    change = (shown - before) / before if before else 0.0
    severity: Severity = "stop" if change < -settings.max_coverage_loss else "ok"
    says = f"{shown:,} distinct items in the lists, {before:,} in those of the served release ({change:+.0%})"
    remedy = "check whether all shoppers get the same items" if severity == "stop" else ""
    return Finding("coverage", change, -settings.max_coverage_loss, math.inf, severity, says, remedy)


def _gains(recommender: Recommender, queries: Sequence[Query], target_ids: pl.Series) -> tuple[np.ndarray, int]:
    """(n,) NDCG of each list, and the number of distinct items in all lists."""
    shown = shown_rows(recommender, queries, K)
    ranks = shown_ranks(shown, positions(target_ids, recommender.model.item_ids))
    return ndcg(ranks, K), len(np.unique(shown[shown >= 0]))


def _slices(candidate: Recommender, targets: pl.DataFrame, categories: pl.DataFrame) -> dict[str, np.ndarray]:
    rows = positions(targets["item_id"], candidate.model.item_ids)
    is_known = np.array([len(candidate.users.history(user_id)) > 0 for user_id in targets["user_id"]], dtype=bool)
    frequency = candidate.model.popularity[rows]
    categorised = targets.select("item_id").join(categories, on="item_id", how="left", maintain_order="left")
    tail = frequency <= np.median(candidate.model.popularity)
    return {
        "all": np.ones(len(targets), dtype=bool),
        "cold_user": ~is_known,
        **frequency_slices(frequency),
        "head": ~tail,
        "tail": tail,
        **category_slices(categorised["category"].to_list()),
    }


def _change(name: str, candidate: np.ndarray, served: np.ndarray, level: float, seed: int) -> SliceChange:
    if not len(candidate):
        return SliceChange(name, 0, 0.0, 0.0, 0.0, 0.0)
    low, high = bootstrap_difference(candidate, served, seed, level)
    return SliceChange(name, len(candidate), float(candidate.mean()), float(served.mean()), low, high)
