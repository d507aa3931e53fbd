from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from storefronts import ITEM_IDS, NOON, TEXT, tiny_recommender

from recsys.config import Recommend
from recsys.errors import QueryError
from recsys.recommend import Query, Signal, batches, top_k

LAMP = TEXT[ITEM_IDS.index("lamp")]


def ids(query: Query, **of_the_shop) -> list[str]:
    (slate,) = tiny_recommender(**of_the_shop).recommend([query])
    return [item.item_id for item in slate.items]


def fallback(query: Query) -> str | None:
    return tiny_recommender().recommend([query])[0].fallback


def test_a_known_shopper_gets_what_goes_with_the_history() -> None:
    assert ids(Query(user_id="ann"))[0] == "mouse"
    assert fallback(Query(user_id="ann")) is None


def test_what_was_seen_is_left_out_unless_the_shop_wants_it() -> None:
    assert "keyboard" not in ids(Query(user_id="ann"))
    assert "keyboard" in ids(Query(user_id="ann"), settings=Recommend(exclude_seen=False, exclude_bought=False))


def test_without_hiding_what_was_seen_what_was_bought_is_still_left_out() -> None:
    view = Signal("view", NOON, "lamp")
    found = ids(Query(user_id="ann", session=(view,)), settings=Recommend(exclude_seen=False))
    assert "lamp" in found
    assert "keyboard" not in found


def test_a_guest_is_known_by_the_session() -> None:
    query = Query(session=(Signal("view", NOON, "kettle"),))
    assert ids(query)[0] == "teapot"
    assert fallback(query) is None


def test_a_guest_is_known_by_a_sentence() -> None:
    assert ids(Query(text_vector=LAMP))[0] == "lamp"
    (slate,) = tiny_recommender().recommend([Query(text_vector=LAMP)])
    assert (slate.items[0].source, slate.fallback) == ("sentence", None)


def test_a_search_of_the_session_counts() -> None:
    assert ids(Query(session=(Signal("search", NOON, text_vector=LAMP),)))[0] == "lamp"


def test_what_was_searched_for_a_moment_ago_goes_before_the_history() -> None:
    search = Signal("search", NOON, text_vector=LAMP)
    assert ids(Query(user_id="ann", session=(search,)))[0] == "lamp"


def test_of_searches_at_one_time_the_last_in_the_session_counts() -> None:
    kettle = TEXT[ITEM_IDS.index("kettle")]
    first, last = (Signal("search", NOON, text_vector=vector) for vector in (kettle, LAMP))
    assert ids(Query(session=(first, last)))[0] == "lamp"


def test_each_later_event_makes_a_search_count_less() -> None:
    views = tuple(Signal("view", NOON + timedelta(minutes=k), item_id) for k, item_id in enumerate(["kettle"] * 12, 1))
    assert ids(Query(session=(Signal("search", NOON, text_vector=LAMP), *views)))[0] == "teapot"


def test_a_stored_browsing_profile_counts() -> None:
    assert ids(Query(user_id="cat"))[0] == "lamp"
    assert fallback(Query(user_id="cat")) is None


def test_an_item_page_shows_what_goes_with_the_item_and_not_the_item() -> None:
    found = ids(Query(item_ids=("teapot",)))
    assert found[0] == "kettle"
    assert "teapot" not in found


def test_the_items_of_the_page_count_more_than_the_history() -> None:
    assert ids(Query(user_id="ann", item_ids=("kettle",)))[0] == "teapot"


def test_the_newest_of_a_session_counts_most() -> None:
    earlier, later = Signal("view", NOON, "kettle"), Signal("view", NOON + timedelta(seconds=9), "keyboard")
    assert ids(Query(session=(earlier, later)))[0] == "mouse"
    assert ids(Query(session=(later, earlier)))[0] == "mouse"  # by time, not by place in the list


@pytest.mark.parametrize(
    ("query", "word"),
    [
        (Query(user_id="nobody"), "unknown_user"),
        (Query(user_id="bob"), "no_history"),
        (Query(item_ids=("nothing",)), "unknown_items"),
        (Query(session=(Signal("view", NOON, "nothing"),)), "unknown_items"),
        (Query(), "unknown_user"),
    ],
)
def test_a_list_that_is_not_personal_says_why_and_shows_what_sells(query: Query, word: str) -> None:
    (slate,) = tiny_recommender().recommend([query])
    assert slate.fallback == word
    assert slate.items[0].item_id == "keyboard"
    assert {item.source for item in slate.items} <= {"trending", "popular"}


def test_unavailable_and_excluded_items_are_never_shown() -> None:
    available = tuple(item_id != "mouse" for item_id in ITEM_IDS)
    found = ids(Query(user_id="ann", exclude_ids=frozenset({"lamp", "unheard-of"})), available=available)
    assert sorted(found) == ["kettle", "teapot"]


def test_all_filtered_out_is_an_empty_list_not_an_error() -> None:
    assert ids(Query(user_id="ann", exclude_ids=frozenset(ITEM_IDS))) == []


def test_ranks_count_from_one_and_scores_fall() -> None:
    (slate,) = tiny_recommender().recommend([Query(user_id="ann", count=3)])
    assert [item.rank for item in slate.items] == [1, 2, 3]
    scores = [item.score for item in slate.items]
    assert scores == sorted(scores, reverse=True)
    assert slate.items[0].title == "Mouse"


def test_a_query_answers_the_same_alone_and_in_a_batch() -> None:
    recommender = tiny_recommender()
    queries = [Query(user_id="ann"), Query(), Query(item_ids=("lamp",)), Query(text_vector=LAMP)]
    alone = [recommender.recommend([query])[0] for query in queries]
    assert [[i.item_id for i in slate.items] for slate in recommender.recommend(queries)] == [
        [i.item_id for i in slate.items] for slate in alone
    ]


def test_a_returned_or_disliked_item_is_hidden_but_recommends_nothing() -> None:
    found = ids(Query(user_id="bob"))
    assert "kettle" not in found
    assert fallback(Query(user_id="bob")) == "no_history"


def test_similar_items_are_near_in_text_and_behaviour() -> None:
    slate = tiny_recommender().similar("mouse", 2)
    assert slate.items[0].item_id == "keyboard"
    assert slate.items[0].source == "similar"
    assert "mouse" not in [item.item_id for item in slate.items]


def test_an_unknown_item_names_the_nearest_ids() -> None:
    with pytest.raises(QueryError, match=r"'keybord' is not in this release; nearest ids: keyboard"):
        tiny_recommender().similar("keybord", 2)


@given(st.lists(st.one_of(st.floats(-5, 5, width=16), st.just(-np.inf)), max_size=30), st.integers(0, 40))
def test_top_k_is_the_start_of_a_stable_sort(values: list[float], k: int) -> None:
    scores = np.array(values, dtype=np.float32)
    expected = [row for row in np.argsort(-scores, kind="stable") if scores[row] > -np.inf][:k]
    assert top_k(scores, k).tolist() == expected


def test_batches_cover_all_queries_once() -> None:
    assert [row for part in batches(7, 3_000_000) for row in range(7)[part]] == list(range(7))
    assert len(list(batches(7, 3_000_000))) == 4
