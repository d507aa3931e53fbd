"""Which reviews influence an item's text vector: how far it shifts if the text is composed without each of them."""

from __future__ import annotations

from typing import Final

import polars as pl

from features.encoder.encoder import Encoder
from features.store.store import Release
from features.text.cleaning import clean
from features.text.documents import item_texts, newest_reviews
from recsys.config import TextSettings

COMPANY: Final = 100
"""Number of other items with reviews that are composed along with this one, because sentences are chosen for what the
reviews of other items do not say. If a shop has more items, the choice may differ from that of the nightly run."""


def reviews_behind(release: Release, settings: TextSettings, encoder: Encoder, item_id: str) -> pl.DataFrame:
    """review_id, rating, sentiment, shift, sentences, text of the item's reviews, the largest shift first.

    shift: 1 - cosine of the item's text vectors with and without the review; 0 if no sentence of the review is in the
    item's text. sentences: those that are. Only the newest `text.max_reviews_read` reviews are used for a text.
    """
    reviews = release.table(
        "reviews", [name for name in release.columns("reviews") if name not in ("vector", "encoder")]
    )
    if "sentiment" not in reviews.columns:
        reviews = reviews.with_columns(sentiment=pl.lit(None, dtype=pl.Float64))
    mine = reviews.filter(pl.col("item_id") == item_id)
    read = newest_reviews(mine, pl.Series([item_id]), settings.max_reviews_read)
    others = reviews.filter(pl.col("item_id") != item_id)["item_id"].unique().sort().head(COMPANY)
    fields = ["item_id", "title", "category", "brand", "attributes", "description"]
    items = release.table("items", [name for name in fields if name in release.columns("items")])
    items = items.filter((pl.col("item_id") == item_id) | pl.col("item_id").is_in(others.implode()))
    company = reviews.filter(pl.col("item_id").is_in(items["item_id"].implode()))

    def composed(without: str | None) -> str:
        remaining = company if without is None else company.filter(pl.col("review_id") != without)
        texts = item_texts(items, remaining, settings, encoder.count_tokens)
        return str(texts.filter(pl.col("item_id") == item_id)["text"].item())

    whole = composed(None)
    lines = [line for line in whole.split("\n") if line]
    quoted = {
        review_id: [line for line in lines if line in clean(text)]
        for review_id, text in read.select("review_id", "text").iter_rows()
    }
    used = [review_id for review_id, sentences in quoted.items() if sentences]
    vectors = encoder.encode([whole, *(composed(review_id) for review_id in used)])
    shift = dict(zip(used, (1.0 - vectors[1:] @ vectors[0]).tolist(), strict=True))
    return (
        read.select("review_id", "rating", "sentiment", "text")
        .with_columns(
            shift=pl.Series([max(0.0, shift.get(review_id, 0.0)) for review_id in read["review_id"]], dtype=pl.Float64),
            sentences=pl.Series([quoted[review_id] for review_id in read["review_id"]], dtype=pl.List(pl.String)),
        )
        .select("review_id", "rating", "sentiment", "shift", "sentences", "text")
        .sort("shift", "review_id", descending=[True, False])
    )
