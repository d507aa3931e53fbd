"""Hard negatives: items with similar texts that shoppers do not treat as similar."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys import config
from recsys.interactions import positions

BLOCK_ITEMS: Final = 256

MAX_CANDIDATES: Final = 50_000
"""In a larger catalogue only a random sample is searched for negatives, to limit time and memory."""


def hard_negatives(
    pairs: pl.DataFrame,
    known_pairs: pl.DataFrame,
    items: pl.DataFrame,
    history: pl.DataFrame,
    vectors: np.ndarray | None,
    settings: config.PairsSettings,
    rng: np.random.Generator,
) -> pl.Series:
    """For each pair an item_id, or null: an item with a similar text that is unrelated by behaviour.

    The text is compared with that of the anchor's item, or of the positive's if the anchor is a query or a review. The
    negative is drawn at random from the `negative_pool` nearest items by cosine, without those that may be true
    positives (the false negatives of Xiong et al. 2021, "Approximate nearest neighbor negative contrastive learning"):
    items that are a positive of the same anchor in any of `known_pairs`, that have the same text, or whose
    co-occurrence, the cosine over shoppers, exceeds `max_cooccurrence`. Both items need `negative_shoppers` shoppers,
    because co-occurrence is not reliable otherwise.

    pairs, known_pairs: kind, anchor, anchor_item, positive_item; items: item_id, text; history: user_id, item_id;
    vectors: (n_items, dim), norm 1 or zero; with None all results are null.
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
    for anchor, row, draw in zip(pairs["anchor"], rows, rng.random(pairs.height), strict=True):
        free = [other for other in near[int(row)].tolist() if other not in positives[anchor]]
        chosen.append(free[int(draw * len(free))] if free else None)
    picked = pl.Series(chosen, dtype=pl.Int64)
    return none if picked.null_count() == len(picked) else item_ids.gather(picked)


def _near_but_unrelated(
    item_rows: np.ndarray,
    items: pl.DataFrame,
    history: pl.DataFrame,
    vectors: np.ndarray,
    settings: config.PairsSettings,
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """For each of these item rows the rows of its possible negatives, in an arbitrary but deterministic order."""
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
    negatives = {int(row): nothing for row in item_rows}
    searched = item_rows[believed[item_rows]]
    pool = min(settings.negative_pool + 1, len(candidates))  # the item itself is its own nearest
    for start in range(0, len(searched) if pool else 0, BLOCK_ITEMS):
        block = searched[start : start + BLOCK_ITEMS]
        similar = vectors[block] @ vectors[candidates].T  # (block, candidates)
        nearest = np.argpartition(-similar, pool - 1, axis=1)[:, :pool]  # (block, pool)
        together = (shoppers[:, block].T @ shoppers[:, candidates]).toarray()  # (block, candidates) shoppers of both
        cosine = together / np.sqrt(n_shoppers[block, None] * n_shoppers[candidates])
        unrelated = cosine <= settings.max_cooccurrence
        unrelated &= texts[block, None] != texts[candidates]
        for row, order, allowed in zip(block, nearest, unrelated, strict=True):
            negatives[int(row)] = candidates[order[allowed[order]]]
    return negatives
