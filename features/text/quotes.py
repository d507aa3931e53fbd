"""The review sentences that may explain a list, chosen when a release is made.

A review is left out where the shop has hidden it; where its stars and its words, as the sentiment head reads them,
disagree, since then one of the two is a mistake or a lie; where it is too short to say anything; and where several
reviews use the same words, as paid reviews do. The rest may be quoted if they are positive enough.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from features.text.cleaning import text_hash
from features.text.documents import newest_reviews
from features.text.sentences import chosen_sentences
from recsys import config
from recsys.tokens import words

COPIED_WORDS: Final = 8
"""Reviews of at least so many words say the same by copying; shorter ones ("Great, as described") by chance."""


def trusted_reviews(
    reviews: pl.DataFrame, settings: config.EvidenceSettings, hidden: Collection[str] = frozenset()
) -> pl.DataFrame:
    """The reviews that may be quoted, in their order.

    reviews: review_id, rating (1 to 5), title, text, sentiment (-1 to 1, null where no head has read it). hidden: ids
    of those that the shop does not want quoted.
    """
    said = [words("\n".join(part for part in row if part)) for row in reviews.select("title", "text").iter_rows()]
    told = pl.DataFrame(
        {"said": [" ".join(own) for own in said], "n_words": [len(own) for own in said]},
        schema={"said": pl.String, "n_words": pl.Int32},
    )
    copied = (told["n_words"] >= COPIED_WORDS) & told["said"].is_duplicated()
    disagreement = ((pl.col("rating") - 3.0) / 2.0 - pl.col("sentiment")).abs()
    return reviews.filter(
        ~pl.lit(copied),
        pl.lit(told["n_words"] >= settings.min_words),
        pl.col("rating") >= settings.min_stars,
        disagreement.fill_null(0.0) <= settings.max_disagreement,
        ~pl.col("review_id").is_in(list(hidden)),
    )


def review_quotes(
    reviews: pl.DataFrame, settings: config.EvidenceSettings, max_reviews: int, hidden: Collection[str] = frozenset()
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
