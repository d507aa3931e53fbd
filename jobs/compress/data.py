"""What a compressed encoder is judged by: the shop's own texts, and pairs of them that are kept back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from features.encoder.encoder import Encoder
from features.finetune.contrastive import MAX_HELD_OUT, vector_ranks
from features.finetune.held_out import held_out_pairs
from features.finetune.pairs import training_pairs
from features.text.documents import browsing_texts, item_texts, review_texts
from jobs.lake.lake import Lake
from jobs.lake.snapshot import newest_moment, read_shop
from recsys import config
from recsys.errors import DataError
from recsys.interactions import positions


@dataclass(frozen=True)
class HeldOut:
    """Pairs of texts that belong together. texts: each once; anchors: (n_pairs,) rows of them; candidates: (n,) rows of
    the distinct positives; targets: (n_pairs,) rows of candidates."""

    texts: list[str]
    anchors: np.ndarray
    candidates: np.ndarray
    targets: np.ndarray

    def ranks(self, queries: np.ndarray, searched: np.ndarray) -> np.ndarray:
        """(n_pairs,) 0-based, by cosine: `contrastive.retrieval_ranks` where both are one encoder's.

        Both are (n_texts, dim): the vectors by which anchors, and by which candidates, are encoded.
        """
        return vector_ranks(queries[self.anchors], searched[self.candidates], self.targets, queries.shape[1])


def held_out_texts(pairs: pl.DataFrame) -> HeldOut:
    """pairs: anchor, positive."""
    texts = pl.concat([pairs["anchor"], pairs["positive"].alias("anchor")]).unique(maintain_order=True)
    candidates = pairs["positive"].unique(maintain_order=True)
    return HeldOut(
        texts=texts.to_list(),
        anchors=positions(pairs["anchor"], texts),
        candidates=positions(candidates, texts),
        targets=positions(pairs["positive"], candidates),
    )


@dataclass(frozen=True)
class CompressData:
    """texts: of products, reviews and searches, each once, but for the anchors of the held-out pairs."""

    texts: list[str]
    held_out: HeldOut


def read_compress(lake: Lake, encoder: Encoder, settings: config.Settings) -> CompressData:
    """All that the shop says until its newest event.

    The held-out pairs are those that the contrastive stage keeps back. Raises DataError where there are none.
    """
    as_of = newest_moment(lake)
    shop = read_shop(lake, as_of)
    composed = item_texts(shop.items, shop.reviews, settings.text, encoder.count_tokens)
    items = shop.items.join(composed, on="item_id", maintain_order="left")
    own = settings.finetune
    pairs = training_pairs(lake.scan("events"), items, shop.reviews, None, as_of, own.pairs, settings.seed)
    kept = held_out_pairs(pairs, own.contrastive.held_out, MAX_HELD_OUT)
    if kept.is_empty():
        raise DataError(
            f"none of {pairs.height} pairs of texts is held out to measure on; raise finetune.contrastive.held_out, "
            f"now {own.contrastive.held_out}, or ingest more"
        )
    said = pl.concat(
        [frame["text"] for frame in (composed, review_texts(shop.reviews), browsing_texts(shop.searches))]
    ).unique(maintain_order=True)
    left = said.filter(said.ne("") & ~said.is_in(kept["anchor"].implode()))
    return CompressData(left.sort().to_list(), held_out_texts(kept))
