"""Quotes: the review sentences that may be shown as a reason, chosen when a release is built.

A review is not quoted if the shop has hidden it; if its stars and the sentiment of its text disagree, because one of
the two is then a mistake or a lie; if it is too short; if several reviews have the same words, as paid reviews do; or
if it is not positive enough.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from features.text.cleaning import text_hash
from features.text.documents import newest_reviews, spell_review
from features.text.sentences import chosen_sentences
from recsys import config
from recsys.tokens import words

COPIED_WORDS: Final = 8
"""Reviews with at least this many words and the same text are copies; shorter ones ("Great, as described") may be equal
by chance."""


def trusted_reviews(
    reviews: pl.DataFrame, settings: config.EvidenceSettings, hidden: Collection[str] = frozenset()
) -> pl.DataFrame:
    """The reviews that may be quoted, in the order given.

    reviews: review_id, rating (1 to 5), title, text, sentiment (-1 to 1, null without a sentiment head). hidden: ids of
    reviews that the shop does not want quoted.
    """
    tokens = [
        words(spell_review(title, text, lines=True)) for title, text in reviews.select("title", "text").iter_rows()
    ]
    counted = pl.DataFrame(
        {"words": [" ".join(review) for review in tokens], "n_words": [len(review) for review in tokens]},
        schema={"words": pl.String, "n_words": pl.Int32},
    )
    copied = (counted["n_words"] >= COPIED_WORDS) & counted["words"].is_duplicated()
    disagreement = ((pl.col("rating") - 3.0) / 2.0 - pl.col("sentiment")).abs()
    return reviews.filter(
        ~pl.lit(copied),
        pl.lit(counted["n_words"] >= settings.min_words),
        pl.col("rating") >= settings.min_stars,
        disagreement.fill_null(0.0) <= settings.max_disagreement,
        ~pl.col("review_id").is_in(list(hidden)),
    )


def review_quotes(
    reviews: pl.DataFrame, settings: config.EvidenceSettings, max_reviews: int, hidden: Collection[str] = frozenset()
) -> pl.DataFrame:
    """item_id, review_id, rating, text (one unaltered sentence), text_hash; by item, the most informative first.

    reviews: review_id, item_id, rating, title, text, timestamp, sentiment. At most `per_item` sentences per item, from
    its newest `max_reviews` reviews among `trusted_reviews`. hidden: ids of reviews that must not be quoted.
    """
    newest = newest_reviews(
        trusted_reviews(reviews, settings, hidden).drop("title"), reviews["item_id"].unique(), max_reviews
    )
    readable = chosen_sentences(newest, settings.per_item)
    readable = readable.filter(
        pl.Series([len(words(text)) >= settings.min_words for text in readable["sentence"]], dtype=pl.Boolean)
    )
    source = newest[readable["review_row"].to_list()]
    hashes = [text_hash(text) for text in readable["sentence"]]
    return pl.DataFrame(
        [
            readable["item_id"],
            source["review_id"],
            source["rating"],
            readable["sentence"].alias("text"),
            pl.Series("text_hash", hashes, dtype=pl.String),
        ]
    )
