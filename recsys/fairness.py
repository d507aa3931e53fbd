"""Who and what is shown: exposure of groups of items, whether lists mirror their shoppers, what a release must keep.

`shown_rows` is (n_lists, k) item positions, best first, -1 where a list is shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from recsys import config
from recsys.metrics import coverage, gini

SMOOTHING: Final = 0.01
"""Share of the shopper's own mix that is put into the list's: one that it lacks would make it diverge infinitely."""


def exposure(shown_rows: np.ndarray, n_items: int) -> np.ndarray:
    """(n_items,) the share of all attention that each item gets, 1 in sum; zeros where nothing is shown.

    A place at 0-based rank r draws 1 / log2(r + 2) (Singh and Joachims 2018, "Fairness of exposure in rankings").
    """
    attention = np.broadcast_to(1.0 / np.log2(np.arange(shown_rows.shape[1]) + 2.0), shown_rows.shape)
    shown = shown_rows >= 0
    total = np.bincount(shown_rows[shown], weights=attention[shown], minlength=n_items)
    return total / max(float(total.sum()), 1e-12)


def exposure_by_group(shown_rows: np.ndarray, groups: Sequence[str | None], demand: np.ndarray) -> pl.DataFrame:
    """group, n_items, catalogue, demand, exposure, ratio of each group, the most exposed first.

    groups: of each item, None for those without one, which are left out; demand: (n_items,) how often each was chosen.
    catalogue, demand and exposure are shares; ratio: exposure over demand, null without demand.
    """
    drawn = exposure(shown_rows, len(groups))
    table = pl.DataFrame({"group": pl.Series(groups, dtype=pl.String), "demand": demand, "exposure": drawn})
    share = [(pl.col(name) / pl.col(name).sum()).fill_nan(0.0).alias(name) for name in ("demand", "exposure")]
    return (
        table.drop_nulls("group")
        .group_by("group")
        .agg(n_items=pl.len(), demand=pl.col("demand").sum(), exposure=pl.col("exposure").sum())
        .with_columns(*share, catalogue=pl.col("n_items") / pl.col("n_items").sum())
        .with_columns(ratio=pl.when(pl.col("demand") > 0).then(pl.col("exposure") / pl.col("demand")))
        .select("group", "n_items", "catalogue", "demand", "exposure", "ratio")
        .sort("exposure", "group", descending=[True, False])
    )


def category_mix(rows: np.ndarray, weights: np.ndarray, codes: np.ndarray, n_categories: int) -> np.ndarray:
    """(n_lists, n_categories) shares of the categories in each list; a zero row where no item has a category.

    rows, weights: (n_lists, k), -1 for no item; codes: (n_items,) category of each item, negative for none.
    """
    chosen = np.where(rows >= 0, codes[np.maximum(rows, 0)], -1)
    mix = np.zeros((len(rows), n_categories))
    has_category = chosen >= 0
    lists = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
    np.add.at(mix, (lists[has_category], chosen[has_category]), weights[has_category])
    return mix / np.maximum(mix.sum(axis=1, keepdims=True), 1e-12)


def miscalibration(preferred: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(n,) Kullback-Leibler divergence in nats of the lists' mix from the shoppers' own; 0 where they agree.

    wanted, given: (n, n_categories) shares, see `category_mix`; NaN where either row is zero.
    (Steck 2018, "Calibrated recommendations", equation 2.)
    """
    smooth = (1.0 - SMOOTHING) * given + SMOOTHING * preferred
    ratio = np.divide(preferred, smooth, out=np.ones_like(preferred), where=preferred > 0)
    divergence = (preferred * np.log(ratio)).sum(axis=1)
    return np.where(preferred.any(axis=1) & given.any(axis=1), divergence, np.nan)


def bands(values: np.ndarray, names: Sequence[str]) -> list[str | None]:
    """Each value's band, from low to high, of about equal size; None for NaN. Equal values share a band."""
    finite_values = values[np.isfinite(values)]
    if len(finite_values) == 0:
        return [None] * len(values)
    cuts = np.quantile(finite_values, np.arange(1, len(names)) / len(names))
    places = np.searchsorted(cuts, values, side="left")
    return [names[place] if finite else None for place, finite in zip(places, np.isfinite(values), strict=True)]


def popularity_groups(popularity: np.ndarray) -> list[str | None]:
    """By how many shoppers had the item: "new" for none; of the others the most popular fifth is "head", the least
    popular half "tail"."""
    had = popularity[popularity > 0]
    tail, head = np.quantile(had, [0.5, 0.8]) if len(had) else (0.0, 0.0)
    return [
        "new" if count == 0 else "head" if count > head else "tail" if count <= tail else "middle"
        for count in popularity
    ]


def fairness_figures(
    shown_rows: np.ndarray, popularity: np.ndarray, diverged: np.ndarray, group_quality: Sequence[float]
) -> dict[str, float]:
    """What `[fairness]` bounds.

    diverged: `miscalibration` of the lists; group_quality: a quality of each group of shoppers, larger is better.
    gini and coverage: of the lists' items; tail_ratio: exposure of the least popular half of what was ever chosen, over
    its demand (1 without such items); miscalibration: the mean (0 where there is none); worst_group: the least quality
    over the mean (1 without groups).
    """
    n_items = len(popularity)
    by_group = exposure_by_group(shown_rows, popularity_groups(popularity), popularity)
    tail = by_group.filter(pl.col("group") == "tail")["ratio"].drop_nulls()
    measured = diverged[np.isfinite(diverged)]
    mean = float(np.mean(group_quality)) if len(group_quality) else 0.0
    return {
        "gini": gini(shown_rows, n_items),
        "coverage": coverage(shown_rows, n_items),
        "tail_ratio": float(tail[0]) if len(tail) else 1.0,
        "miscalibration": float(measured.mean()) if len(measured) else 0.0,
        "worst_group": min(group_quality) / mean if mean > 0 else 1.0,
    }


def bounds(limits: config.FairnessSettings) -> dict[str, tuple[str, float, float]]:
    """Of each figure the name of its limit, and the least and the most that it allows."""
    return {
        "gini": ("fairness.max_gini", -np.inf, limits.max_gini),
        "coverage": ("fairness.min_coverage", limits.min_coverage, np.inf),
        "tail_ratio": ("fairness.min_tail_ratio", limits.min_tail_ratio, np.inf),
        "miscalibration": ("fairness.max_miscalibration", -np.inf, limits.max_miscalibration),
        "worst_group": ("fairness.min_worst_group", limits.min_worst_group, np.inf),
    }


def broken_limits(figures: dict[str, float], limits: config.FairnessSettings) -> list[str]:
    """A sentence for each limit that the figures break, naming the setting; none by default, as no limit is set."""
    broken = []
    for name, (setting, least, most) in bounds(limits).items():
        if figures[name] > most:
            broken.append(f"{name} {figures[name]:.3f} is above {setting} = {most:g}")
        elif figures[name] < least:
            broken.append(f"{name} {figures[name]:.3f} is below {setting} = {least:g}")
    return broken
