"""The data of `recsys compress`: the shop's texts, and held-out pairs of texts to evaluate on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from features.encoder.encoder import Encoder
from features.finetune.contrastive import MAX_HELD_OUT, vector_ranks
from features.finetune.held_out import held_out_pairs
from features.finetune.pairs import training_pairs
from features.text.documents import browsing_texts, item_texts, review_texts
from jobs.lake.aliases import scan_by_item
from jobs.lake.lake import Lake
from jobs.lake.snapshot import newest_moment, read_shop
from recsys import config
from recsys.errors import DataError
from recsys.interactions import positions


@dataclass(frozen=True)
class HeldOut:
    """Pairs of texts that belong together. texts: distinct; anchors: (n_pairs,) rows of texts; candidates: (n,) rows of
    the distinct positives in texts; targets: (n_pairs,) rows of candidates."""

    texts: list[str]
    anchors: np.ndarray
    candidates: np.ndarray
    targets: np.ndarray

    def ranks(self, queries: np.ndarray, searched: np.ndarray) -> np.ndarray:
        """(n_pairs,) 0-based ranks by cosine; `contrastive.retrieval_ranks` if both are vectors of one encoder.

        queries, searched: (n_texts, dim) vectors from which those of anchors and of candidates are taken.
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
    """texts: distinct texts of products, reviews and searches, without the anchors of the held-out pairs."""

    texts: list[str]
    held_out: HeldOut


def read_compress(lake: Lake, encoder: Encoder, settings: config.Settings) -> CompressData:
    """All texts of the shop up to its newest event.

    The held-out pairs are those of the contrastive stage of fine-tuning. Raises DataError if there are none.
    """
    as_of = newest_moment(lake)
    shop = read_shop(lake, as_of)
    composed = item_texts(shop.items, shop.reviews, settings.text, encoder.count_tokens)
    items = shop.items.join(composed, on="item_id", maintain_order="left")
    tuning = settings.finetune
    pairs = training_pairs(scan_by_item(lake, "events"), items, shop.reviews, None, as_of, tuning.pairs, settings.seed)
    held_out = held_out_pairs(pairs, tuning.contrastive.held_out, MAX_HELD_OUT)
    if held_out.is_empty():
        raise DataError(
            f"none of {pairs.height} pairs of texts is held out for evaluation; raise finetune.contrastive.held_out "
            f"(now {tuning.contrastive.held_out}) or ingest more data"
        )
    texts = pl.concat(
        [frame["text"] for frame in (composed, review_texts(shop.reviews), browsing_texts(shop.searches))]
    ).unique(maintain_order=True)
    left = texts.filter(texts.ne("") & ~texts.is_in(held_out["anchor"].implode()))
    return CompressData(left.sort().to_list(), held_out_texts(held_out))
