"""Which reviews may be quoted to shoppers.

A review is left out where it is hidden by the shop; where its stars and its words, as the sentiment head reads them,
disagree, since then one of the two is a mistake or a lie; where it is too short to say anything; and where several
reviews use the same words, as those that are bought do. What is left and pleased its writer enough may be quoted.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from recsys import config
from recsys.words import words

COPIED_WORDS: Final = 8
"""Reviews of at least so many words say the same by copying; shorter ones ("Great, as described") by chance."""


def trusted_reviews(
    reviews: pl.DataFrame, settings: config.Evidence, hidden: Collection[str] = frozenset()
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
