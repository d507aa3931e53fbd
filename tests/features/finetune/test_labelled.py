from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from features.finetune.labelled import labelled_reviews, sentiment_classes
from recsys.errors import DataError


def reviews_of(*rows: tuple[str, float, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "review_id": [str(n) for n in range(len(rows))],
            "user_id": [row[0] for row in rows],
            "item_id": ["i"] * len(rows),
            "rating": [row[1] for row in rows],
            "title": [None] * len(rows),
            "text": [row[2] for row in rows],
            "timestamp": [datetime(2025, 1, 1, tzinfo=UTC)] * len(rows),
        },
        schema_overrides={"title": pl.String, "text": pl.String, "user_id": pl.String, "rating": pl.Float64},
    )


MANY = reviews_of(*((f"user{n % 60}", float(n % 5 + 1), f"text {n}") for n in range(300)))


def test_stars_become_classes() -> None:
    stars = np.array([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0])
    assert sentiment_classes(stars, 3).tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert sentiment_classes(stars, 5).tolist() == [0, 1, 1, 2, 2, 3, 3, 4]


def test_all_reviews_of_a_user_are_in_one_part() -> None:
    data = labelled_reviews(MANY, 3)
    users = MANY["user_id"].to_numpy()
    for user in set(users):
        assert len(set(data.part[users == user])) == 1
    shares = np.bincount(data.part) / len(data.part)
    np.testing.assert_allclose(shares, [0.65, 0.15, 0.2], atol=0.12)
    assert sorted(np.concatenate([data.rows(part) for part in range(3)])) == list(range(300))


def test_a_users_part_stays_when_others_join() -> None:
    more = pl.concat([MANY, reviews_of(("newcomer", 5.0, "hello")).with_columns(review_id=pl.lit("new"))])
    np.testing.assert_array_equal(labelled_reviews(more, 3).part[:300], labelled_reviews(MANY, 3).part)


def test_a_text_counts_once_and_an_empty_one_not_at_all() -> None:
    extra = reviews_of(("user1", 1.0, "text 4"), ("user1", 1.0, "  "), ("user1", 1.0, None))
    both = pl.concat([MANY, extra.with_columns(review_id=pl.concat_str(pl.lit("x"), "review_id"))])
    data = labelled_reviews(both, 5)
    assert data.texts == MANY["text"].to_list()
    assert data.labels[4] == 4  # the stars of the first


@pytest.mark.parametrize(
    ("reviews", "message"),
    [
        (reviews_of(), "0 reviews, none of them has a text; ingest more reviews"),
        (reviews_of(("a", 5.0, ""), ("b", 1.0, None)), "2 reviews, none of them has a text"),
        (MANY.with_columns(rating=pl.lit(5.0)), r"have the same class \(for example 5.0 stars\); ingest more reviews"),
        (reviews_of(("a", 5.0, "good"), ("a", 1.0, "bad")), "2 reviews of 1 users are too few"),
    ],
)
def test_reviews_that_teach_nothing_are_refused(reviews: pl.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        labelled_reviews(reviews, 3)
    assert str(caught.value).startswith("sentiment: ")
    assert str(caught.value).endswith("leave sentiment out of finetune.stages")
