"""Reviews labelled by their stars, split by user into training, validation and test."""

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
"""Shares of the users, so that no user's reviews are in two parts."""


@dataclass(frozen=True)
class Labelled:
    """Reviews with a text, each distinct text once.

    labels: (n,) int64 classes; part: (n,) int64, 0 for training, 1 for validation, 2 for test.
    """

    texts: list[str]
    labels: np.ndarray
    part: np.ndarray
    n_classes: int

    def rows(self, part: int) -> np.ndarray:
        """Rows of one part."""
        return np.flatnonzero(self.part == part)


def sentiment_classes(ratings: np.ndarray, n_classes: int) -> np.ndarray:
    """(n,) int64 classes of (n,) stars; half stars are rounded up. 5 classes: stars - 1; 3 classes: 1-2, 3, 4-5
    stars."""
    stars = np.clip(np.floor(ratings + 0.5), 1, 5).astype(np.int64)
    return stars - 1 if n_classes == 5 else (stars >= 3).astype(np.int64) + (stars >= 4)


def labelled_reviews(reviews: pl.DataFrame, n_classes: int) -> Labelled:
    """Texts, classes and parts of the reviews (`recsys.tables.Reviews`), in the order given.

    Of reviews with equal texts only the first counts: the same review is often shown on several products and would be
    both in training and in test. Raises DataError without reviews with a text, if all have the same class, or if a part
    would be empty.
    """
    texts = (
        review_texts(reviews)
        .unique("text_hash", keep="first", maintain_order=True)
        .join(reviews.select("review_id", "user_id", "rating"), on="review_id", how="left", maintain_order="left")
    )
    remedy = "ingest more reviews, or leave sentiment out of finetune.stages"
    if texts.is_empty():
        raise DataError(f"sentiment: {reviews.height} reviews, none of them has a text; {remedy}")
    labels = sentiment_classes(texts["rating"].to_numpy(), n_classes)
    places = place(texts["user_id"])
    part = np.where(places < TEST_SHARE, 2, np.where(places < TEST_SHARE + VALIDATION_SHARE, 1, 0))
    learned = np.unique(labels[part == 0])
    if len(learned) == 1:
        raise DataError(
            f"sentiment: all {int((part == 0).sum())} training reviews have the same class (for example "
            f"{texts['rating'][int(np.flatnonzero(part == 0)[0])]} stars); {remedy}"
        )
    sizes = [int((part == number).sum()) for number in range(3)]
    if 0 in sizes:
        raise DataError(
            f"sentiment: {texts.height} reviews of {texts['user_id'].n_unique()} users are too few; split by user, "
            f"{sizes[0]} are for training, {sizes[1]} for validation and {sizes[2]} for test; {remedy}"
        )
    return Labelled(texts["text"].to_list(), labels, part, n_classes)
