"""The sentences of reviews that a list may be explained with, chosen when a release is made."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from features.sentences import chosen_sentences
from features.text import newest_reviews, text_hash
from features.trust import trusted_reviews
from recsys import config
from recsys.words import words


def review_quotes(
    reviews: pl.DataFrame, settings: config.Evidence, max_reviews: int, hidden: Collection[str] = frozenset()
) -> pl.DataFrame:
    """item_id, review_id, rating, text (one sentence, word for word), text_hash; by item, the most informative first.

    reviews: review_id, item_id, rating, title, text, timestamp, sentiment. At most `per_item` sentences of an item,
    from its newest `max_reviews` reviews that may be trusted; hidden: ids of reviews that are not.
    """
    newest = newest_reviews(
        trusted_reviews(reviews, settings, hidden).drop("title"), reviews["item_id"].unique(), max_reviews
    )
    readable = chosen_sentences(newest, settings.per_item)
    readable = readable.filter(
        pl.Series([len(words(text)) >= settings.min_words for text in readable["sentence"]], dtype=pl.Boolean)
    )
    said_in = newest[readable["review_row"].to_list()]
    hashes = [text_hash(text) for text in readable["sentence"]]
    return pl.DataFrame(
        [
            readable["item_id"],
            said_in["review_id"],
            said_in["rating"],
            readable["sentence"].alias("text"),
            pl.Series("text_hash", hashes, dtype=pl.String),
        ]
    )
