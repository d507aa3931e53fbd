"""Hard negatives: items that read alike but that no shopper takes for alike."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys import config
from recsys.interactions import positions

BLOCK_ITEMS: Final = 256

MAX_CANDIDATES: Final = 50_000
"""Of a larger catalogue a part, drawn at random, is searched for negatives: time and memory grow with it."""


def hard_negatives(
    pairs: pl.DataFrame,
    known_pairs: pl.DataFrame,
    items: pl.DataFrame,
    history: pl.DataFrame,
    vectors: np.ndarray | None,
    settings: config.PairsSettings,
    rng: np.random.Generator,
) -> pl.Series:
    """For each pair an item_id, or null: near by text to its item, but unrelated by behaviour.

    The item is the anchor's, or the positive's where the anchor is a query or a review. Chosen at random among its
    `negative_pool` nearest by cosine, less the items that may well be true positives (the false negatives of Xiong et
    al. 2021, "Approximate nearest neighbor negative contrastive learning"): those that are a positive of the same
    anchor in any of `known_pairs`, have the same text, or share more shoppers with it than `max_cooccurrence`, the
    cosine over shoppers, allows. Both must have had `negative_shoppers`, as co-occurrence says nothing otherwise.

    pairs, known_pairs: kind, anchor, anchor_item, positive_item; items: item_id, text; history: user_id, item_id;
    vectors: (n_items, dim), norm 1 or zero, or None, which gives nulls only.
    """
    none = pl.Series([None] * pairs.height, dtype=pl.String)
    if vectors is None or settings.negative_pool == 0 or pairs.is_empty():
        return none
    of_pair = pairs.select(pl.coalesce("anchor_item", "positive_item")).to_series()
    item_ids = items["item_id"]
    rows = positions(of_pair, item_ids)
    near = _near_but_unrelated(np.unique(rows), items, history, vectors, settings, rng)
    positives: dict[str, set[int]] = {}
    targets = positions(known_pairs["positive_item"], item_ids)
    for anchor, target in zip(known_pairs["anchor"], targets, strict=True):
        positives.setdefault(anchor, set()).add(int(target))
    chosen: list[int | None] = []
    for anchor, row, luck in zip(pairs["anchor"], rows, rng.random(pairs.height), strict=True):
        free = [other for other in near[int(row)].tolist() if other not in positives[anchor]]
        chosen.append(free[int(luck * len(free))] if free else None)
    picked = pl.Series(chosen, dtype=pl.Int64)
    return none if picked.null_count() == len(picked) else item_ids.gather(picked)


def _near_but_unrelated(
    wanted: np.ndarray,
    items: pl.DataFrame,
    history: pl.DataFrame,
    vectors: np.ndarray,
    settings: config.PairsSettings,
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """For each wanted item row the rows of its negatives, in no particular but in the same order every time."""
    had = history.select("user_id", "item_id").unique()
    users = positions(had["user_id"], had["user_id"].unique().sort())
    columns = positions(had["item_id"], items["item_id"])
    shape = (int(users.max(initial=-1)) + 1, items.height)
    shoppers = sp.csc_matrix((np.ones(had.height, dtype=np.float32), (users, columns)), shape=shape)
    n_shoppers = np.bincount(columns, minlength=items.height)
    believed = (n_shoppers >= settings.negative_shoppers) & vectors.any(axis=1)
    candidates = np.flatnonzero(believed)
    if len(candidates) > MAX_CANDIDATES:
        candidates = np.sort(rng.choice(candidates, MAX_CANDIDATES, replace=False))
    texts = items["text"].rank("dense").to_numpy()  # equal texts, equal numbers
    nothing = np.empty(0, dtype=np.int64)
    found = {int(row): nothing for row in wanted}
    asked = wanted[believed[wanted]]
    pool = min(settings.negative_pool + 1, len(candidates))  # the item itself is its own nearest
    for start in range(0, len(asked) if pool else 0, BLOCK_ITEMS):
        block = asked[start : start + BLOCK_ITEMS]
        similar = vectors[block] @ vectors[candidates].T  # (block, candidates)
        nearest = np.argpartition(-similar, pool - 1, axis=1)[:, :pool]  # (block, pool)
        together = (shoppers[:, block].T @ shoppers[:, candidates]).toarray()  # (block, candidates) shoppers of both
        cosine = together / np.sqrt(n_shoppers[block, None] * n_shoppers[candidates])
        unrelated = cosine <= settings.max_cooccurrence
        unrelated &= texts[block, None] != texts[candidates]
        for row, order, allowed in zip(block, nearest, unrelated, strict=True):
            found[int(row)] = candidates[order[allowed[order]]]
    return found
