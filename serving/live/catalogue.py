"""The release that answers now, with the item changes since it was published.

A new recommender is built beside the current one and replaces it in one assignment, as a new release does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from features.live.item_changes import ItemChanges, with_changes
from features.text.documents import item_texts
from recsys.errors import RecsysError
from recsys.new_products import with_added_items, with_prices
from recsys.recommend import Recommender
from recsys.tables import Reviews
from serving.releases.active import ActiveRelease
from serving.releases.text_vectors import TextVectors
from serving.watch.polling import Watch

if TYPE_CHECKING:
    from features.store.release import LoadedRelease

log = logging.getLogger(__name__)

CHARS_PER_TOKEN: Final = 4
"""An estimate, which only decides where a new product's text is cut; the nightly run counts the encoder's tokens."""


@dataclass(frozen=True)
class UpdatedRelease:
    """`base` with the item changes up to `version`."""

    release: ActiveRelease
    base: ActiveRelease
    version: int


class LiveCatalogue(Watch):
    """Follows the item changes.

    base: the release that answers where no item has changed. A failure is logged once and tried again; meanwhile the
    release answers unchanged.
    """

    def __init__(self, base: Callable[[], ActiveRelease | None], changes: ItemChanges, poll_s: float) -> None:
        super().__init__(poll_s, "live-catalogue")
        self._base = base
        self._changes = changes
        self._updated: UpdatedRelease | None = None
        self._vectors: dict[str, np.ndarray] = {}
        self._encoded_by: TextVectors | None = None
        self._failing = False

    @property
    def live(self) -> ActiveRelease | None:
        """The release to answer from; call it once for each request."""
        base, updated = self._base(), self._updated
        return updated.release if updated is not None and updated.base is base else base

    def poll(self) -> bool:
        """Read the changes once; True where lists have changed products from now on."""
        base = self._base()
        if base is None or base.release.catalogue is None:
            return False
        try:
            version = self._changes.version()
            updated = self._updated
            if updated is not None and updated.base is base and updated.version == version:
                return False
            live = base.release.manifest.log_offset
            after = live.item_version if live.database_id == self._changes.database.id else 0
            changed = self._changes.after(after) if version > after else None
            if changed is None or changed.is_empty():
                self._updated = None
                return False
            release = self._changed(base.release, changed, base.texts)
            self._updated = UpdatedRelease(replace(base, release=release), base, version)
        except Exception as error:
            # The thread must go on, and lists are made from the release without the changes.
            if not self._failing:
                log.error("item changes not applied error=%s", error, exc_info=not isinstance(error, RecsysError))
            self._failing = True
            return False
        self._failing = False
        log.info("item changes applied version=%d items=%d", version, changed.height)
        return True

    def _changed(self, release: LoadedRelease, changed: pl.DataFrame, texts: TextVectors) -> LoadedRelease:
        assert release.catalogue is not None
        items, settings = release.catalogue.items, release.catalogue.settings
        added = changed.join(items, on="item_id", how="anti").filter(~pl.col("deleted"))
        no_reviews = Reviews.create_empty()
        read = item_texts(added, no_reviews, settings.text, _estimated_tokens).filter(pl.col("text") != "")
        # A product without text that nobody has bought cannot be ranked: it waits for the next nightly run.
        added = read.join(added, on="item_id", how="left", maintain_order="left")
        priced = dict(changed.filter(pl.col("price").is_not_null()).select("item_id", "price").iter_rows())
        model = with_prices(release.recommender.model, priced)
        if not added.is_empty():
            vectors = self._encoded(texts, added["text"].to_list())
            if not release.recommender.reader.reads_texts:
                vectors = np.zeros_like(vectors)
            model = with_added_items(model, added, vectors, release.manifest.as_of, settings.new_items)
        rows = with_changes(items, changed)
        if not added.is_empty():
            new = added.with_columns(pl.col("available").fill_null(True))
            columns = [name for name in rows.columns if name in new.columns]
            rows = pl.concat([rows, new.select(columns)], how="diagonal")
        facts = release.recommender.facts.of_more_items(len(rows))
        recommender = Recommender.of_release(model, release.recommender.users, rows, settings, facts)
        recommender.properties.prepare()
        return replace(release, recommender=recommender)

    def _encoded(self, texts: TextVectors, new: Sequence[str]) -> np.ndarray:
        """(n, dim) vectors of the new texts; a text is encoded once, however often the price of its product changes."""
        if self._encoded_by is not texts:  # vectors of two encoders are never mixed
            self._vectors, self._encoded_by = {}, texts
        missing = [text for text in dict.fromkeys(new) if text not in self._vectors]
        if missing:
            self._vectors |= zip(missing, texts.encode_now(missing), strict=True)
        self._vectors = {text: self._vectors[text] for text in new}
        return np.stack([self._vectors[text] for text in new])


def _estimated_tokens(words: list[str]) -> list[int]:
    return [1 + len(word) // CHARS_PER_TOKEN for word in words]
