"""Reviews with the class that their stars say, parted by user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from features.finetune.held_out import place
from features.text.documents import review_texts
from recsys.errors import DataError

TEST_SHARE: Final = 0.2
VALIDATION_SHARE: Final = 0.15
"""Of the users: nobody's reviews are learned from and measured on."""


@dataclass(frozen=True)
class Labelled:
    """Reviews that say anything, each text once. labels: (n,) int64 classes; part: (n,) int64, 0 to train on, 1 to
    validate, 2 to test.
    """

    texts: list[str]
    labels: np.ndarray
    part: np.ndarray
    n_classes: int

    def rows(self, part: int) -> np.ndarray:
        """Rows of one part."""
        return np.flatnonzero(self.part == part)


def sentiment_classes(ratings: np.ndarray, n_classes: int) -> np.ndarray:
    """(n,) int64 from (n,) stars, half stars rounded up: of 5, the stars less one; of 3, up to 2, 3, and from 4 on."""
    stars = np.clip(np.floor(ratings + 0.5), 1, 5).astype(np.int64)
    return stars - 1 if n_classes == 5 else (stars >= 3).astype(np.int64) + (stars >= 4)


def labelled_reviews(reviews: pl.DataFrame, n_classes: int) -> Labelled:
    """Texts, classes and parts of the reviews (those of `recsys.tables.Reviews`), in their order.

    Of reviews with one text the first counts: the others, often shown on sibling products, would be learned from and
    tested on. Raises DataError without reviews, with one class only, or where a part would be empty.
    """
    said = (
        review_texts(reviews)
        .unique("text_hash", keep="first", maintain_order=True)
        .join(reviews.select("review_id", "user_id", "rating"), on="review_id", how="left", maintain_order="left")
    )
    remedy = "ingest more reviews, or leave sentiment out of finetune.stages"
    if said.is_empty():
        raise DataError(f"sentiment: {reviews.height} reviews, none with a text; {remedy}")
    labels = sentiment_classes(said["rating"].to_numpy(), n_classes)
    places = place(said["user_id"])
    part = np.where(places < TEST_SHARE, 2, np.where(places < TEST_SHARE + VALIDATION_SHARE, 1, 0))
    learned = np.unique(labels[part == 0])
    if len(learned) == 1:
        raise DataError(
            f"sentiment: all {int((part == 0).sum())} reviews to learn from are of one class (for example "
            f"{said['rating'][int(np.flatnonzero(part == 0)[0])]} stars); {remedy}"
        )
    sizes = [int((part == number).sum()) for number in range(3)]
    if 0 in sizes:
        raise DataError(
            f"sentiment: {said.height} reviews of {said['user_id'].n_unique()} users are too few: by user, {sizes[0]} "
            f"are to learn from, {sizes[1]} to choose by and {sizes[2]} to test on; {remedy}"
        )
    return Labelled(said["text"].to_list(), labels, part, n_classes)
