"""What a release holds of one shopper: rows of tables, sentences of their reviews, vectors of their searches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.store.release import TEXTS_FILE
from features.store.store import Release
from recsys.release_files import QUOTES_FILE, VECTORS_FILE


@dataclass(frozen=True)
class WithoutShopper:
    """A change for `features.store.rewrite`. review_ids: of the reviews that the shopper wrote."""

    user_id: str
    review_ids: frozenset[str]

    def stays(self, table: str, rows: pl.DataFrame) -> pl.Series:
        """True for each row that neither is the shopper's nor one of their reviews."""
        is_removed = rows["user_id"] == self.user_id
        if table == "reviews":
            is_removed = is_removed | rows["review_id"].is_in(list(self.review_ids))
        return ~is_removed

    def write_model(self, old: Release, new: Path, users: pl.DataFrame) -> dict[str, int]:
        """Removes the sentences of their reviews; vectors of texts that no history points to any more become zero."""
        counts = {"sentences to quote": self._quotes(old, new), "vectors of searches": _texts(old, new, users)}
        return {name: count for name, count in counts.items() if count}

    def _quotes(self, release: Release, new: Path) -> int:
        if not release.manifest.has(QUOTES_FILE):
            return 0
        old = release.model_dir
        quotes = pl.read_parquet(old / QUOTES_FILE)
        stays = ~quotes["review_id"].is_in(list(self.review_ids))
        if stays.all():
            return 0
        vectors = np.load(old / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
        quotes.filter(stays).write_parquet(new / QUOTES_FILE)
        np.save(new / VECTORS_FILE, vectors[stays.to_numpy()], allow_pickle=False)
        return int((~stays).sum())


def _texts(release: Release, new: Path, users: pl.DataFrame) -> int:
    """Rows stay in their places, as histories point to them by number; a text that others searched for stays, too."""
    if not release.manifest.has(TEXTS_FILE):
        return 0
    texts = np.load(release.model_dir / TEXTS_FILE, mmap_mode="r", allow_pickle=False)
    entries = users["history"].explode().drop_nulls()
    read = entries.struct.field("text_row").drop_nulls().unique().to_numpy()
    unread = np.ones(len(texts), dtype=bool)
    unread[read] = False
    unread &= np.any(texts != 0, axis=1)
    if not unread.any():
        return 0
    zeroed = np.array(texts)
    zeroed[unread] = 0
    np.save(new / TEXTS_FILE, zeroed, allow_pickle=False)
    return int(unread.sum())
