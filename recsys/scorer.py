"""The scores of every item for a shopper: the candidate sources, their fusion, and a cache of recent results.

A request asks for one shopper. The scores of recent shoppers are cached under a digest of everything they depend on.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np

from recsys.candidates import Shoppers
from recsys.fusion import Fused, z_scores
from recsys.model import Model
from recsys.query import Profile
from recsys.result_cache import ResultCache, digest_of
from recsys.sequence.histories import Sequences, gap_buckets
from recsys.sparse_rows import ItemRows

CACHED_QUERY_VECTORS: Final = 10_000
"""Half a kilobyte each."""

CACHED_BYTES: Final = 128 * 2**20
"""Memory for the scores of recent shoppers; the scores of two shoppers are cached whatever they take."""


class Scorer:
    """The sources of a model. cache_size: for how many shoppers the scores are cached."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.sources = model.sources()
        self._names = [source.name for source in self.sources]
        self.cache_size = max(2, CACHED_BYTES // max(1, 4 * len(model.item_ids) * len(self.sources)))
        self._query_vectors: ResultCache[np.ndarray] = ResultCache(CACHED_QUERY_VECTORS)
        self._fused: ResultCache[Fused] = ResultCache(self.cache_size)

    def keyed(self, profiles: Sequence[Profile]) -> list[tuple[Hashable, Fused]]:
        """Each profile's scores, with the key under which they are cached. The key is None for several profiles, whose
        scores are not cached."""
        if len(profiles) != 1:
            return [(None, fused) for fused in self._fuse(profiles)]
        key = _profile_key(profiles[0])
        return [(key, self._fused.of(key, lambda: self._fuse(profiles)[0]))]

    def cached(self, profile: Profile) -> tuple[Hashable, Fused | None]:
        """The key of the profile's scores, and the scores where they are cached."""
        key = _profile_key(profile)
        return key, self._fused.find(key)

    def _fuse(self, profiles: Sequence[Profile]) -> list[Fused]:
        shoppers = self.shoppers(profiles)
        standard = z_scores(self.scores(shoppers))
        return self.model.fusion.fused(self._names, standard, self.model.popularity, shoppers.text_weight)

    def scores(self, shoppers: Shoppers) -> np.ndarray:
        """(n_sources, n, n_items) float32 as the sources give them."""
        return np.stack([source.scores(shoppers) for source in self.sources])

    def shoppers(self, profiles: Sequence[Profile]) -> Shoppers:
        """The profiles as the sources read them."""
        n_items = len(self.model.item_ids)
        return Shoppers(
            history=ItemRows.of([profile.history for profile in profiles], n_items),
            query_vectors=self._vectors_of(profiles),
            bought=ItemRows.of([profile.bought for profile in profiles], n_items),
            browsing=np.stack([profile.browsing for profile in profiles]),
            query_text=np.stack([profile.query_text for profile in profiles]),
            text_weight=np.array([profile.text_weight for profile in profiles], dtype=np.float32),
        )

    def _vectors_of(self, profiles: Sequence[Profile]) -> np.ndarray:
        """(n, dim) query vectors of the sequence model."""
        if len(profiles) != 1:
            return self._computed_vectors(profiles)
        return self._query_vectors.of(digest_of(*_read_of(profiles[0])), lambda: self._computed_vectors(profiles))

    def _computed_vectors(self, profiles: Sequence[Profile]) -> np.ndarray:
        reads = [profile.read for profile in profiles]
        n_texts = np.cumsum([0] + [len(profile.read_texts) for profile in profiles])
        text_rows = [
            np.where(read.text_rows >= 0, read.text_rows + n, -1) for read, n in zip(reads, n_texts, strict=False)
        ]
        sequences = Sequences(
            np.cumsum([0] + [len(read) for read in reads]),
            np.concatenate([read.item_rows for read in reads]),
            np.concatenate([read.event_types for read in reads]),
            np.concatenate([read.timestamps for read in reads]),
            np.concatenate(text_rows),
        )
        return self.model.sequence.read(sequences, np.concatenate([profile.read_texts for profile in profiles]))


def _profile_key(profile: Profile) -> bytes:
    """A digest of everything that the sources read."""
    weight = np.array([profile.text_weight])
    read = _read_of(profile)
    return digest_of(*read, *profile.history, *profile.bought, profile.browsing, profile.query_text, weight)


def _read_of(profile: Profile) -> tuple[np.ndarray, ...]:
    """What the sequence model reads. Times count as rough gaps between events, so that an item page, or an event
    without a time, has the same key a second later."""
    read = profile.read
    return read.item_rows, read.text_rows, read.event_types, gap_buckets(read.timestamps), profile.read_texts
