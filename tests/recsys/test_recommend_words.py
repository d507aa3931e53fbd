"""A shop whose texts have no vectors, as its encoder cannot read them: words say what a text means."""

import numpy as np
import pytest
from storefronts import LAMP, NOON, TEXT, tiny_recommender

from recsys.query import Query, Signal
from recsys.recommend import Recommender

NOTHING = np.zeros_like(TEXT)


@pytest.fixture
def recommender() -> Recommender:
    return tiny_recommender(text=NOTHING, whitened=NOTHING)


@pytest.mark.parametrize("user_id", [None, "ann"])
@pytest.mark.parametrize("search", [True, False])
def test_a_text_is_matched_by_its_words_alone(recommender: Recommender, user_id: str | None, search: bool) -> None:
    # The vector says lamp, the words say kettle.
    query = Query(user_id=user_id, text="kettle", text_vector=LAMP, search=search, count=3)
    (slate,) = recommender.recommend([query])
    assert slate.items[0].item_id == "kettle"
    assert slate.items[0].source == "title"
    assert slate.fallback is None


def test_what_matches_more_words_comes_first_and_what_matches_none_last(recommender: Recommender) -> None:
    (slate,) = recommender.recommend([Query(text="desk mouse", text_vector=LAMP, search=True, count=5)])
    assert [item.item_id for item in slate.items[:2]] == ["mouse", "keyboard"]  # both are at "Office > Desk"


def test_texts_of_the_session_are_not_read(recommender: Recommender) -> None:
    search = Signal("search", NOON, text_vector=LAMP, text="lamp")
    with_text, without = recommender.recommend(
        [Query(user_id="ann", session=(search,), asked_at=NOON), Query(user_id="ann", asked_at=NOON)]
    )
    assert with_text == without


def test_a_text_without_any_known_word_gives_what_suits_the_shopper(recommender: Recommender) -> None:
    with_text, without = recommender.recommend(
        [
            Query(user_id="ann", text="sofa", text_vector=LAMP, asked_at=NOON, count=3),
            Query(user_id="ann", asked_at=NOON, count=3),
        ]
    )
    assert [item.item_id for item in with_text.items] == [item.item_id for item in without.items]
