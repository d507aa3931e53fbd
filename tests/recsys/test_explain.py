from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from storefronts import ITEM_IDS, NOON, TEXT, item_entry, tiny_recommender, users_with

from recsys.config import NewItemsSettings
from recsys.cooccurrence import CoPurchases
from recsys.explain import Explanation, ExplanationData
from recsys.fusion import Fusion
from recsys.query import Query, Signal
from recsys.recommend import Recommender
from recsys.repeats import Repeats
from recsys.review_quotes import Evidence
from recsys.rules import Pin, Rules

LAMP = TEXT[ITEM_IDS.index("lamp")]


def explained(query: Query, recommender: Recommender | None = None) -> dict[str, Explanation]:
    """By item."""
    (slate,) = (recommender or tiny_recommender()).recommend([replace(query, explain=True)])
    return {item.item_id: item.explanation for item in slate.items if item.explanation is not None}


def reason(query: Query, item_id: str, recommender: Recommender | None = None) -> tuple[str, str, str | None]:
    explained_reason = explained(query, recommender)[item_id].reason
    return explained_reason.kind, explained_reason.text, explained_reason.item_id


@pytest.mark.parametrize(
    ("event_type", "text"),
    [
        ("view", "because you viewed Keyboard"),
        ("cart", "because you added Keyboard to your cart"),
        ("purchase", "because you bought Keyboard"),
        ("rating", "because you rated Keyboard"),
    ],
)
def test_a_reason_names_the_item_of_the_history_and_what_was_done_with_it(event_type: str, text: str) -> None:
    query = Query(session=(Signal(event_type, NOON, "keyboard"),))
    assert reason(query, "mouse") == ("history", text, "keyboard")


def test_of_a_history_the_item_that_counts_most_for_this_one_is_named() -> None:
    users = users_with({"ann": [item_entry("keyboard"), item_entry("kettle", at=NOON + timedelta(days=1))]})
    recommender = tiny_recommender(users=users)
    assert reason(Query(user_id="ann"), "mouse", recommender)[2] == "keyboard"
    assert reason(Query(user_id="ann"), "teapot", recommender)[2] == "kettle"


def with_facts(recommender: Recommender, **facts) -> Recommender:
    recommender.facts = replace(recommender.facts, **facts)
    return recommender


def test_that_others_bought_both_is_said_only_where_they_did() -> None:
    assert reason(Query(user_id="ann"), "mouse")[0] == "history"
    counts = sp.csr_matrix((np.array([7]), (np.array([1]), np.array([3]))), shape=(5, 5))
    recommender = with_facts(tiny_recommender(), together=CoPurchases(counts, counts.astype(np.float32)))
    assert reason(Query(user_id="ann"), "mouse", recommender) == (
        "together",
        "customers who bought Keyboard also bought this",
        "keyboard",
    )


def test_on_an_item_page_the_item_of_the_page_is_named() -> None:
    assert reason(Query(item_ids=("kettle",)), "teapot") == ("page", "goes with Kettle", "kettle")


def test_a_request_in_words_is_quoted_and_a_long_one_cut() -> None:
    assert reason(Query(text_vector=LAMP, text="bright lamp"), "lamp") == ("words", "matches 'bright lamp'", None)
    text = reason(Query(text_vector=LAMP, text="word " * 99), "lamp")[1]
    assert text.startswith("matches 'word word")
    assert text.endswith("word…'")


def test_a_search_of_the_session_is_quoted() -> None:
    search = Signal("search", NOON, text_vector=LAMP, text="bright lamp")
    assert reason(Query(session=(search,)), "lamp")[1] == "matches 'bright lamp'"


def test_what_was_searched_for_on_other_days_is_not_known_in_words() -> None:
    assert reason(Query(user_id="cat"), "lamp") == ("browsing", "similar to your searches", None)


def test_to_a_stranger_it_is_popular() -> None:
    kinds = {explanation.reason.kind for explanation in explained(Query(user_id="nobody")).values()}
    assert kinds <= {"trending", "popular"}


def test_what_was_bought_may_be_needed_again() -> None:
    recommender = tiny_recommender(repeats=Repeats(allowed=True, after_days=7.0))
    query = Query(user_id="ann", asked_at=NOON + timedelta(days=8))
    assert reason(query, "keyboard", recommender) == ("buy_again", "buy it again", "keyboard")


def test_a_pinned_item_was_chosen_by_the_shop() -> None:
    query = Query(user_id="ann", rules=Rules(pins=(Pin("lamp", 1),)))
    assert reason(query, "lamp") == ("pinned", "our pick", None)


def test_new_is_this_week_only_where_the_catalogue_says_so() -> None:
    recommender = tiny_recommender(new_items=NewItemsSettings(share=0.5), popularity=np.array([3, 5, 0, 4, 0.0]))
    query = Query(user_id="ann", asked_at=NOON + timedelta(days=6))
    texts = {item_id: explanation.reason.text for item_id, explanation in explained(query, recommender).items()}
    assert texts["teapot"] == "new this week"  # its row of the catalogue is of that noon
    assert texts["lamp"] == "new arrival"  # nothing says when it came
    later = replace(query, asked_at=NOON + timedelta(days=8))
    assert {item.reason.text for item in explained(later, recommender).values() if item.reason.kind == "new"} == {
        "new arrival"
    }


def test_scores_are_those_of_the_sources_that_speak_and_add_up_to_the_items() -> None:
    (slate,) = tiny_recommender().recommend([Query(user_id="ann", explain=True)])
    for item in slate.items:
        assert item.explanation is not None
        assert sum(item.explanation.scores.values()) == pytest.approx(item.score, abs=1e-4)
        assert "query_text" not in item.explanation.scores
        assert max(item.explanation.scores, key=item.explanation.scores.__getitem__) == item.source


QUOTES = Evidence.of(
    pl.DataFrame(
        {
            "item_id": ["mouse", "mouse", "lamp"],
            "review_id": ["r1", "r2", "r3"],
            "rating": [5.0, 4.0, 5.0],
            "text": ["Types well.", "Glows.", "Bright."],
        }
    ),
    TEXT[[ITEM_IDS.index(name) for name in ("keyboard", "lamp", "lamp")]],
    pl.Series(ITEM_IDS),
)


@pytest.mark.parametrize(
    ("query", "review_id", "matched_on"),
    [
        (Query(user_id="ann"), "r1", "history"),
        (Query(user_id="ann", text_vector=LAMP, text="glow"), "r2", "text"),
        (Query(user_id="cat"), "r2", "browsing"),
        (Query(user_id="nobody"), "r1", "item"),
    ],
)
def test_the_review_that_speaks_to_the_shopper_is_quoted(query: Query, review_id: str, matched_on: str) -> None:
    quote = explained(query, with_facts(tiny_recommender(), evidence=QUOTES))["mouse"].quote
    assert quote is not None
    assert (quote.review_id, quote.matched_on) == (review_id, matched_on)


def test_a_hidden_review_is_not_quoted_and_an_item_without_reviews_has_none() -> None:
    facts = ExplanationData(CoPurchases.none(5), QUOTES, hidden={"r1"})
    explanations = explained(Query(user_id="ann"), with_facts(tiny_recommender(), **vars(facts)))
    assert explanations["mouse"].quote is not None
    assert explanations["mouse"].quote.review_id == "r2"
    assert explanations["teapot"].quote is None


def test_nothing_is_explained_unasked_and_asking_changes_no_list() -> None:
    recommender = tiny_recommender(fusion=Fusion())
    for query in (Query(user_id="ann"), Query(), Query(text_vector=LAMP)):
        plain = recommender.recommend([query])[0]
        with_reasons = recommender.recommend([replace(query, explain=True)])[0]
        assert all(item.explanation is None for item in plain.items)
        assert [replace(item, explanation=None) for item in with_reasons.items] == list(plain.items)
