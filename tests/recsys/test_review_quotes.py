from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.errors import StoreError
from recsys.release_files import QUOTES_FILE, VECTORS_FILE
from recsys.review_quotes import Evidence

ITEMS = pl.Series(["lamp", "mouse", "rug"])
QUOTES = pl.DataFrame(
    {
        "item_id": ["rug", "lamp", "rug", "gone"],
        "review_id": ["r1", "r2", "r3", "r4"],
        "rating": [5.0, 4.0, 4.5, 5.0],
        "text": ["Soft.", "Bright.", "Red as in the picture.", "?"],
    }
)
VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0]], dtype=np.float32)


def evidence() -> Evidence:
    return Evidence.of(QUOTES, VECTORS, ITEMS)


def quoted(item_row: int, direction: list[float] | None = None, **options) -> str | None:
    vector = None if direction is None else np.array(direction, dtype=np.float32)
    quote = evidence().quote(item_row, vector, "text", **options)
    return None if quote is None else quote.review_id


def test_the_sentence_nearest_to_what_is_wanted_is_quoted() -> None:
    assert quoted(2, [1.0, 0.0]) == "r1"
    assert quoted(2, [0.0, 1.0]) == "r3"
    assert quoted(0, [1.0, 0.0]) == "r2"  # the only one


def test_all_that_was_said_of_an_item_is_told_but_what_is_hidden() -> None:
    assert [quote.review_id for quote in evidence().said_of(2)] == ["r1", "r3"]
    assert [(quote.text, quote.stars) for quote in evidence().said_of(2, hidden={"r1"})] == [
        ("Red as in the picture.", 4.5)
    ]
    assert evidence().said_of(1) == []


def test_where_nothing_is_wanted_the_most_informative_is_quoted() -> None:
    quote = evidence().quote(2, None, "text")
    assert quote is not None
    assert (quote.text, quote.review_id, quote.stars, quote.matched_on) == ("Soft.", "r1", 5.0, "item")


def test_an_item_without_sentences_has_no_quote() -> None:
    assert quoted(1) is None
    assert Evidence.none(3).quote(2, np.ones(2, dtype=np.float32), "text") is None


def test_a_hidden_review_is_never_quoted() -> None:
    assert quoted(2, [1.0, 0.0], hidden={"r1"}) == "r3"
    assert quoted(2, hidden={"r1", "r3"}) is None


def test_small_numbers_keep_directions() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    small = evidence().of(
        pl.DataFrame({"item_id": ["lamp"] * 300, "review_id": "r", "rating": 5.0, "text": ""}), vectors, ITEMS
    )
    back = small.vectors.astype(np.float32)
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    assert (back * vectors).sum(axis=1).min() > 0.999


def test_it_comes_back_from_disk_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"quotes\.parquet"):
        Evidence.load(tmp_path, 3)
    evidence().save(tmp_path)
    again = Evidence.load(tmp_path, 3)
    assert again.quotes.equals(evidence().quotes)
    np.testing.assert_array_equal(again.indptr, evidence().indptr)
    np.testing.assert_array_equal(again.vectors, evidence().vectors)


@pytest.mark.parametrize("name", [QUOTES_FILE, VECTORS_FILE])
@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_damaged_files_are_refused_with_what_to_do(name: str, content: bytes, tmp_path: Path) -> None:
    evidence().save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match="run `recsys nightly` again"):
        Evidence.load(tmp_path, 3)


def test_sentences_and_vectors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    evidence().save(tmp_path)
    np.save(tmp_path / VECTORS_FILE, np.zeros((1, 2), dtype=np.int8))
    with pytest.raises(StoreError, match="3 sentences, 1 vectors"):
        Evidence.load(tmp_path, 3)
