"""Training data of the projection: texts that express an interest, and the text of the item that was then chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import scipy.sparse as sp

from features.finetune.held_out import place
from recsys.interactions import positions

MAX_CHOICES: Final = 200_000
"""If histories give more choices, this many are drawn at random."""

MAX_ENTRIES: Final = 20
"""At most this many history entries before a choice are used."""


@dataclass(frozen=True)
class Choices:
    """Choices by shoppers.

    queries: (n, n_texts) float32 weights of `texts` in what the shopper was interested in; chosen: (n,) rows of
    `texts`, never one with a weight in the same row of `queries`.
    """

    texts: list[str]
    queries: sp.csr_matrix
    chosen: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen)


def choices(pairs: pl.DataFrame, histories: pl.DataFrame, decay: float, held_out: float, seed: int) -> Choices:
    """Each entry of a history as a choice, with the entries before it as the query, and all pairs but `adjacent` ones.

    pairs: `features.finetune.pairs.Pairs`; histories: user_id, text, oldest first. The weight of an entry falls by the
    factor `decay` with every step back. If there are pairs of other kinds, at most as many choices are drawn from
    histories as there are adjacent pairs, so that the kinds keep their proportions. Held-out data, a share `held_out`
    of the anchors, are not used: neither their pairs nor their texts in histories.
    """
    entries = histories.filter(place_of(histories["text"]) >= held_out)
    others = pairs.filter(pl.col("kind").cast(pl.String) != "adjacent")
    n_adjacent = pairs.height - others.height
    others = others.filter(place_of(others["anchor"]) >= held_out)
    texts = pl.concat([entries["text"], others["anchor"], others["positive"]]).unique(maintain_order=True)
    rows = positions(entries["text"], texts)
    users = entries["user_id"].rle_id().to_numpy()
    queries, chosen = _followed(rows, users, len(texts), decay)
    most = min(MAX_CHOICES, n_adjacent) if others.height else MAX_CHOICES
    drawn = np.sort(np.random.default_rng(seed).permutation(len(chosen))[:most])
    anchors = positions(others["anchor"], texts)
    single = sp.csr_matrix(
        (np.ones(len(anchors), dtype=np.float32), anchors, np.arange(len(anchors) + 1)), (len(anchors), len(texts))
    )
    return Choices(
        texts.to_list(),
        sp.vstack([queries[drawn], single], format="csr"),
        np.concatenate([chosen[drawn], positions(others["positive"], texts)]),
    )


def place_of(texts: pl.Series) -> pl.Series:
    """`held_out.place` of each text; every distinct text is hashed once."""
    distinct = texts.unique(maintain_order=True)
    return pl.Series(place(distinct)[positions(texts, distinct)], dtype=pl.Float64)


def _followed(rows: np.ndarray, users: np.ndarray, n_texts: int, decay: float) -> tuple[sp.csr_matrix, np.ndarray]:
    """(n, n_texts) weights of the texts before each history entry, and the (n,) text rows of the entries.

    Entries without a text before them, or whose text is among these, are left out. rows, users: (n_entries,) text rows
    and numbers of their users.
    """
    entries, before, weights = [], [], []
    for step in range(1, MAX_ENTRIES + 1):
        entry = np.arange(step, len(rows))
        entry = entry[users[entry] == users[entry - step]]
        entries.append(entry)
        before.append(rows[entry - step])
        weights.append(np.full(len(entry), decay ** (step - 1), dtype=np.float32))
    at = np.concatenate(entries), np.concatenate(before)
    queries = sp.csr_matrix((np.concatenate(weights), at), shape=(len(rows), n_texts))
    is_repeat = np.zeros(len(rows), dtype=bool)
    is_repeat[at[0][at[1] == rows[at[0]]]] = True
    usable = np.flatnonzero((np.diff(queries.indptr) > 0) & ~is_repeat)
    return queries[usable], rows[usable]
