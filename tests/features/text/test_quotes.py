"""Which reviews are trusted, and which sentences are kept of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from features.text.quotes import review_quotes, trusted_reviews
from recsys.config import EvidenceSettings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONG = "The keys are quiet and the whole office likes this keyboard a lot"


def reviews(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {"item_id": "kb", "rating": 5.0, "title": None, "text": None, "sentiment": None}
    numbered = [
        usual | {"review_id": f"r{n}", "timestamp": NOON + timedelta(days=n)} | row for n, row in enumerate(rows)
    ]
    return pl.DataFrame(
        numbered,
        schema={
            "review_id": pl.String,
            "item_id": pl.String,
            "rating": pl.Float64,
            "title": pl.String,
            "text": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "sentiment": pl.Float32,
        },
    )


@pytest.mark.parametrize(
    ("row", "trusted"),
    [
        ({"text": LONG}, True),
        ({"text": LONG, "rating": 4.0, "sentiment": 0.9}, True),
        ({"text": LONG, "rating": 3.5}, False),  # too little pleased to be quoted
        ({"text": LONG, "sentiment": -0.4}, False),  # five stars, and words of anger
        ({"text": "Great keyboard"}, False),
        ({"title": "A quiet one", "text": "Great keyboard"}, True),  # title and text together say enough
        ({}, False),
    ],
)
def test_a_review_is_trusted_where_stars_and_words_agree_and_say_something(row: dict[str, Any], trusted: bool) -> None:
    assert len(trusted_reviews(reviews(row), EvidenceSettings())) == trusted


def test_hidden_reviews_are_left_out() -> None:
    table = reviews({"text": LONG}, {"text": f"{LONG} and more"})
    assert trusted_reviews(table, EvidenceSettings(), {"r0"})["review_id"].to_list() == ["r1"]


def test_copied_reviews_are_left_out_all_of_them() -> None:
    table = reviews({"text": LONG}, {"text": LONG.upper() + "!", "item_id": "other"}, {"text": f"Unlike: {LONG}"})
    assert trusted_reviews(table, EvidenceSettings())["review_id"].to_list() == ["r2"]


def test_short_reviews_may_say_the_same_by_chance() -> None:
    table = reviews({"text": "A very good quiet keyboard"}, {"text": "A very good quiet keyboard"})
    assert len(trusted_reviews(table, EvidenceSettings())) == 2


def test_sentences_are_quoted_word_for_word_with_their_review() -> None:
    table = reviews(
        {"text": "The keys are <b>quiet</b> at night. Nice."},
        {"text": "The battery of the keyboard lasts for months.", "rating": 4.0},
        {"text": "I hate the keys of this keyboard.", "rating": 1.0},
    )
    quotes = review_quotes(table, EvidenceSettings(), 50)
    assert set(quotes.select("item_id", "review_id", "rating", "text").iter_rows()) == {
        ("kb", "r0", 5.0, "The keys are quiet at night."),
        ("kb", "r1", 4.0, "The battery of the keyboard lasts for months."),
    }
    assert quotes["text_hash"].str.len_chars().unique().to_list() == [32]


def test_so_many_sentences_of_an_item_at_most_from_its_newest_reviews() -> None:
    rows = [{"text": " ".join(f"{word}{n}" for word in ("some", "words", "nobody", "else", "says"))} for n in range(9)]
    assert len(review_quotes(reviews(*rows), EvidenceSettings(per_item=2), 50)) == 2
    assert set(review_quotes(reviews(*rows), EvidenceSettings(), 1)["review_id"]) == {"r8"}
    assert review_quotes(reviews(*rows), EvidenceSettings(per_item=0), 50).is_empty()


def test_a_shop_without_reviews_quotes_nothing() -> None:
    assert review_quotes(reviews(), EvidenceSettings(), 50).columns == [
        "item_id",
        "review_id",
        "rating",
        "text",
        "text_hash",
    ]
