"""What the projection is fitted to: texts that say what somebody was after, and the text of what was chosen then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import scipy.sparse as sp

from features.finetune.held_out import place
from recsys.interactions import positions

MOST: Final = 200_000
"""Of more choices from histories so many are drawn at random."""

LONGEST: Final = 20
"""So many entries before a choice are read."""


@dataclass(frozen=True)
class Choices:
    """asked: (n, n_texts) float32, how much each of `texts` counts in what was asked for; chosen: (n,) rows of
    `texts`, never one of those that count."""

    texts: list[str]
    asked: sp.csr_matrix
    chosen: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen)


def choices(pairs: pl.DataFrame, histories: pl.DataFrame, decay: float, held_out: float, seed: int) -> Choices:
    """Every item of a history, chosen by what came before it, and the pairs of other kinds than `adjacent`.

    pairs: `features.finetune.pairs.Pairs`; histories: user_id, text, oldest first. A step back counts less by the
    factor `decay`. Beside other pairs no more choices are drawn from histories than there are adjacent pairs: the
    kinds keep their shares. Of what is held out, a share `held_out` of the anchors, nothing is read: neither its pairs
    nor its text in a history.
    """
    kept = histories.filter(place_of(histories["text"]) >= held_out)
    others = pairs.filter(pl.col("kind").cast(pl.String) != "adjacent")
    n_adjacent = pairs.height - others.height
    others = others.filter(place_of(others["anchor"]) >= held_out)
    texts = pl.concat([kept["text"], others["anchor"], others["positive"]]).unique(maintain_order=True)
    rows = positions(kept["text"], texts)
    users = kept["user_id"].rle_id().to_numpy()
    asked, chosen = _followed(rows, users, len(texts), decay)
    most = min(MOST, n_adjacent) if others.height else MOST
    drawn = np.sort(np.random.default_rng(seed).permutation(len(chosen))[:most])
    anchors = positions(others["anchor"], texts)
    single = sp.csr_matrix(
        (np.ones(len(anchors), dtype=np.float32), anchors, np.arange(len(anchors) + 1)), (len(anchors), len(texts))
    )
    return Choices(
        texts.to_list(),
        sp.vstack([asked[drawn], single], format="csr"),
        np.concatenate([chosen[drawn], positions(others["positive"], texts)]),
    )


def place_of(texts: pl.Series) -> pl.Series:
    """Where each text falls, as `held_out.place` says; every distinct text is hashed once."""
    distinct = texts.unique(maintain_order=True)
    return pl.Series(place(distinct)[positions(texts, distinct)], dtype=pl.Float64)


def _followed(rows: np.ndarray, users: np.ndarray, n_texts: int, decay: float) -> tuple[sp.csr_matrix, np.ndarray]:
    """What stood before each entry of a history, (n, n_texts), and the entry's row, (n,); those without, or that were
    met before, are left out. rows, users: (n_entries,) text rows and whose they are."""
    entries, before, weights = [], [], []
    for step in range(1, LONGEST + 1):
        entry = np.arange(step, len(rows))
        entry = entry[users[entry] == users[entry - step]]
        entries.append(entry)
        before.append(rows[entry - step])
        weights.append(np.full(len(entry), decay ** (step - 1), dtype=np.float32))
    at = np.concatenate(entries), np.concatenate(before)
    asked = sp.csr_matrix((np.concatenate(weights), at), shape=(len(rows), n_texts))
    again = np.zeros(len(rows), dtype=bool)
    again[at[0][at[1] == rows[at[0]]]] = True
    taught = np.flatnonzero((np.diff(asked.indptr) > 0) & ~again)
    return asked[taught], rows[taught]
