"""The release that answers now, with products as they have become since it was made.

Another recommender is made beside the one that answers and swapped in by reference, as a release is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from features.live.item_changes import FIELDS, ItemChanges
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
"""Only where a new product's text is cut depends on it; the night counts tokens as the encoder does."""


class LiveCatalogue(Watch):
    """Follows the item changes.

    base: what to answer from where no item has changed. What fails is logged once and tried again; meanwhile the
    release goes on as it is.
    """

    def __init__(self, base: Callable[[], ActiveRelease | None], changes: ItemChanges, poll_s: float) -> None:
        super().__init__(poll_s, "live-catalogue")
        self._base = base
        self._changes = changes
        self._made: tuple[ActiveRelease, ActiveRelease, int] | None = None
        """What was made, of what, with the changes up to which version."""
        self._vectors: dict[str, np.ndarray] = {}
        self._encoded_by: TextVectors | None = None
        self._failing = False

    @property
    def live(self) -> ActiveRelease | None:
        """What to answer from; take it once for each request."""
        base, made = self._base(), self._made
        return made[0] if made is not None and made[1] is base else base

    def poll(self) -> bool:
        """Look once; True where changed products are in the lists from now on."""
        base = self._base()
        if base is None or base.release.catalogue is None:
            return False
        try:
            version = self._changes.version()
            if self._made is not None and self._made[1] is base and self._made[2] == version:
                return False
            live = base.release.manifest.live
            after = live.item_version if live.database_id == self._changes.database.id else 0
            changed = self._changes.after(after) if version > after else None
            if changed is None or changed.is_empty():
                self._made = None
                return False
            self._made = (replace(base, release=self._changed(base.release, changed, base.texts)), base, version)
        except Exception as error:
            # The thread must live on, and lists are made of the release as it is.
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
        nothing_said = Reviews.create_empty()
        read = item_texts(added, nothing_said, settings.text, _estimated_tokens).filter(pl.col("text") != "")
        # Without a word nothing can be said of a product that nobody has bought: it waits for the night.
        added = read.join(added, on="item_id", how="left", maintain_order="left")
        priced = dict(changed.filter(pl.col("price").is_not_null()).select("item_id", "price").iter_rows())
        model = with_prices(release.recommender.model, priced)
        if not added.is_empty():
            vectors = self._encoded(texts, added["text"].to_list())
            model = with_added_items(model, added, vectors, release.manifest.as_of, settings.new_items)
        rows = _updated(items, changed)
        if not added.is_empty():
            new = added.with_columns(pl.col("available").fill_null(True))
            columns = [name for name in rows.columns if name in new.columns]
            rows = pl.concat([rows, new.select(columns)], how="diagonal")
        facts = release.recommender.facts.of_more_items(len(rows))
        recommender = Recommender.of_release(model, release.recommender.users, rows, settings, facts)
        recommender.properties.prepare()
        return replace(release, recommender=recommender)

    def _encoded(self, texts: TextVectors, wanted: Sequence[str]) -> np.ndarray:
        """(n, dim); a text is encoded once, however often its product changes its price."""
        if self._encoded_by is not texts:  # vectors of two encoders never meet
            self._vectors, self._encoded_by = {}, texts
        missing = [text for text in dict.fromkeys(wanted) if text not in self._vectors]
        if missing:
            self._vectors |= zip(missing, texts.encode_now(missing), strict=True)
        self._vectors = {text: self._vectors[text] for text in wanted}
        return np.stack([self._vectors[text] for text in wanted])


def _updated(items: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """The items with the fields that were given, in their order."""
    names = [name for name in FIELDS if name in items.columns]
    both = items.join(changed.select("item_id", *names), on="item_id", how="left", suffix="_new", maintain_order="left")
    return both.with_columns(pl.coalesce(f"{name}_new", name).alias(name) for name in names).select(items.columns)


def _estimated_tokens(words: list[str]) -> list[int]:
    return [1 + len(word) // CHARS_PER_TOKEN for word in words]
