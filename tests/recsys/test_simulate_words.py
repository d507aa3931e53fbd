"""The words of the sample storefront: its vocabulary, queries and reviews."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.simulate.queries import misspell
from recsys.simulate.reviews import N_CHANCES, write_review
from recsys.simulate.vocabulary import Leaf, leaves_for, load_vocabulary, with_article

VOCABULARY = load_vocabulary()
JACKETS = next(leaf for leaf in VOCABULARY.leaves if leaf.name == "Jackets")  # fit, waterproofing, fabric, size
chances = st.lists(st.floats(0, 1, exclude_max=True), min_size=N_CHANCES, max_size=N_CHANCES).map(np.array)


def banks(leaf: Leaf) -> tuple[set[str], set[str]]:
    """All good and all bad phrases about a leaf's aspects, in lower case."""
    good = {phrase.lower() for name in leaf.aspects for phrase in VOCABULARY.aspects[name].good}
    bad = {phrase.lower() for name in leaf.aspects for phrase in VOCABULARY.aspects[name].bad}
    return good, bad


@pytest.mark.parametrize("leaf", VOCABULARY.leaves, ids=lambda leaf: leaf.code)
def test_every_leaf_speaks_in_known_words(leaf: Leaf) -> None:
    assert set(leaf.aspects) <= set(VOCABULARY.aspects)
    assert set(leaf.styles) <= set(VOCABULARY.styles)
    assert set(leaf.materials) <= set(VOCABULARY.material_families)
    assert set(leaf.goes_with) <= {other.code for other in VOCABULARY.leaves} - {leaf.code}
    assert leaf.palette in VOCABULARY.palettes
    assert all(sentence.endswith(".") for sentence in leaf.feature_sentences)


def test_leaf_codes_are_unique() -> None:
    codes = [leaf.code for leaf in VOCABULARY.leaves]
    assert len(set(codes)) == len(codes)


def test_a_small_shop_has_fewer_leaves_but_of_many_departments() -> None:
    assert leaves_for(2000) == VOCABULARY.leaves
    assert len(leaves_for(150)) == 10
    assert len({leaf.department for leaf in leaves_for(150)}) == 10


@given(chance=chances, stars=st.sampled_from([4, 5]))
def test_a_shopper_pleased_in_every_aspect_blames_nothing(chance: np.ndarray, stars: int) -> None:
    _, text = write_review(VOCABULARY, JACKETS, "vintage", np.full(4, 1.5), 1.0, stars, chance)
    good, bad = banks(JACKETS)
    assert any(phrase in text.lower() for phrase in good)
    assert not any(phrase in text.lower() for phrase in bad)


@given(chance=chances, stars=st.sampled_from([1, 2]))
def test_a_shopper_annoyed_in_every_aspect_praises_nothing(chance: np.ndarray, stars: int) -> None:
    _, text = write_review(VOCABULARY, JACKETS, "vintage", np.full(4, -1.5), -1.0, stars, chance)
    good, bad = banks(JACKETS)
    assert any(phrase in text.lower() for phrase in bad)
    assert not any(phrase in text.lower() for phrase in good)


@given(chance=chances)
def test_three_stars_tell_the_best_and_the_worst_aspect(chance: np.ndarray) -> None:
    aspects = np.array([0.4, -1.2, 1.5, -0.1])  # fabric is best, waterproofing worst
    _, text = write_review(VOCABULARY, JACKETS, "vintage", aspects, 0.0, 3, chance)
    assert any(phrase.lower() in text.lower() for phrase in VOCABULARY.aspects["fabric"].good)
    assert any(phrase.lower() in text.lower() for phrase in VOCABULARY.aspects["waterproofing"].bad)


@given(chance=chances, stars=st.integers(1, 5), aspects=st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_every_review_has_a_title_and_one_to_five_sentences(
    chance: np.ndarray, stars: int, aspects: list[float]
) -> None:
    title, text = write_review(VOCABULARY, JACKETS, "vintage", np.array(aspects), 0.0, stars, chance)
    assert title
    assert text
    assert "{" not in title + text
    assert len(text.split(". ")) <= 6


@given(query=st.text("abcdefgh ", min_size=1).filter(str.strip), chance=st.floats(0, 1, exclude_max=True))
def test_a_slip_changes_the_length_by_one_letter_at_most(query: str, chance: float) -> None:
    assert abs(len(misspell(query, chance)) - len(query)) <= 1


def test_slips_lose_double_and_swap_letters_of_the_longest_word() -> None:
    slips = {misspell("red backpack", chance) for chance in np.linspace(0, 0.999, 200)}
    assert {"red bckpack", "red baackpack", "red bcakpack"} <= slips
    assert "red backpack" not in slips


def test_short_words_are_typed_right() -> None:
    assert misspell("red mug", 0.5) == "red mug"


@pytest.mark.parametrize(("phrase", "expected"), [("old oak", "an old oak"), ("rug", "a rug"), ("Ember", "an Ember")])
def test_article_follows_the_first_letter(phrase: str, expected: str) -> None:
    assert with_article(phrase) == expected
