"""How every item is judged for a shopper: the sources, their fusion, and what of it is kept.

A request asks for one shopper: what was worked out for the last ones is kept, under a digest of all that it hangs on.
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

RECENT_READS: Final = 10_000
"""Of half a kilobyte each."""

RECENT_BYTES: Final = 128 * 2**20
"""What the scores of the last shoppers may take; those of two are kept whatever they take."""


class Scorer:
    """The sources of a model. n_kept: of so many shoppers the scores are kept."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.sources = model.sources()
        self._names = [source.name for source in self.sources]
        self.n_kept = max(2, RECENT_BYTES // max(1, 4 * len(model.item_ids) * len(self.sources)))
        self._recent_reads: ResultCache[np.ndarray] = ResultCache(RECENT_READS)
        self._recent_fused: ResultCache[Fused] = ResultCache(self.n_kept)

    def keyed(self, profiles: Sequence[Profile]) -> list[tuple[Hashable, Fused]]:
        """Each profile's scores, with a key of what they were worked out from: None where many are asked for at once,
        of whom nothing is kept."""
        if len(profiles) != 1:
            return [(None, fused) for fused in self._fuse(profiles)]
        key = _evidence_of(profiles[0])
        return [(key, self.of_key(key, profiles[0]))]

    def of_key(self, key: Hashable, profile: Profile) -> Fused:
        """The profile's scores, kept under its key."""
        return self._recent_fused.of(key, lambda: self._fuse([profile])[0])

    def kept(self, profile: Profile) -> tuple[Hashable, Fused | None]:
        """The key of the profile's scores, and these where they are kept."""
        key = _evidence_of(profile)
        return key, self._recent_fused.find(key)

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
            query_vectors=self._wanted(profiles),
            bought=ItemRows.of([profile.bought for profile in profiles], n_items),
            browsing=np.stack([profile.browsing for profile in profiles]),
            query_text=np.stack([profile.query_text for profile in profiles]),
            text_weight=np.array([profile.text_weight for profile in profiles], dtype=np.float32),
        )

    def _wanted(self, profiles: Sequence[Profile]) -> np.ndarray:
        """(n, dim) query vectors of the sequence model."""
        if len(profiles) != 1:
            return self._read(profiles)
        return self._recent_reads.of(digest_of(*_read_of(profiles[0])), lambda: self._read(profiles))

    def _read(self, profiles: Sequence[Profile]) -> np.ndarray:
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


def _evidence_of(profile: Profile) -> bytes:
    """A key of all that the sources read."""
    one = profile
    return digest_of(
        *_read_of(one), *one.history, *one.bought, one.browsing, one.query_text, np.array([one.text_weight])
    )


def _read_of(profile: Profile) -> tuple[np.ndarray, ...]:
    """What the sequence model reads: of times only how long things lay apart, roughly, so that a page or an event of
    this very moment is the same a second later."""
    read = profile.read
    return read.item_rows, read.text_rows, read.event_types, gap_buckets(read.timestamps), profile.read_texts
