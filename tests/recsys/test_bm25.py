import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.bm25 import K1, B, WordIndex

TEXTS = ["red lamp", "red red lamp", "green desk lamp", ""]


def best(text: str) -> list[int]:
    scores = WordIndex.of(TEXTS).scores(text)
    return [row for row in np.argsort(-scores, kind="stable").tolist() if scores[row] > 0]


def test_items_with_the_words_are_found_the_rarer_word_counting_more() -> None:
    assert best("DESK") == [2]
    assert best("red desk")[0] == 2  # one text of four has a desk, two are red
    assert best("lamp") == [0, 1, 2]  # of equal counts the shorter text first
    assert best("red") == [1, 0]  # twice is more than once


def test_unknown_words_and_no_words_find_nothing() -> None:
    assert best("sofa") == best("") == best("...") == []


def test_a_word_asked_for_twice_counts_once() -> None:
    index = WordIndex.of(TEXTS)
    np.testing.assert_array_equal(index.scores("red red"), index.scores("red"))


def test_a_shop_without_items_or_words_is_read() -> None:
    assert WordIndex.of([]).scores("a").tolist() == []
    assert WordIndex.of(["", ""]).scores("a").tolist() == [0.0, 0.0]


@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=5), min_size=1, max_size=6), st.lists(st.sampled_from("abcde"))
)
def test_scores_are_those_of_the_formula(texts: list[list[str]], query: list[str]) -> None:
    mean = max(sum(map(len, texts)) / len(texts), 1.0)
    for row, score in enumerate(WordIndex.of([" ".join(text) for text in texts]).scores(" ".join(query))):
        total = 0.0
        for word in set(query):
            n_with = sum(word in text for text in texts)
            rarity = np.log(1 + (len(texts) - n_with + 0.5) / (n_with + 0.5))
            count = texts[row].count(word)
            total += rarity * count * (K1 + 1) / (count + K1 * (1 - B + B * len(texts[row]) / mean))
        assert score == pytest.approx(total, rel=1e-4, abs=1e-6)
