"""From a query to a slate."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from storefronts import ITEM_IDS, KETTLE, LAMP, NOON, ids, tiny_recommender

from recsys.batch_scoring import source_scores
from recsys.config import NewItemsSettings, RecommendSettings
from recsys.errors import QueryError
from recsys.fusion import Fusion, z_scores
from recsys.query import Query, Signal
from recsys.repeats import Repeats


def fallback(query: Query) -> str | None:
    return tiny_recommender().recommend([query])[0].fallback


def test_a_known_shopper_gets_what_goes_with_the_history() -> None:
    assert ids(Query(user_id="ann"))[0] == "mouse"
    assert fallback(Query(user_id="ann")) is None


def test_what_was_seen_is_left_out_unless_the_shop_wants_it() -> None:
    assert "keyboard" not in ids(Query(user_id="ann"))
    viewed = Query(session=(Signal("view", NOON, "mouse"),), count=4)
    assert "mouse" not in ids(viewed)
    assert "mouse" in ids(replace(viewed, count=5), settings=RecommendSettings(exclude_seen=False))[:4]


def test_without_hiding_what_was_seen_what_was_bought_is_still_left_out() -> None:
    view = Signal("view", NOON, "lamp")
    shown = ids(Query(user_id="ann", session=(view,)), settings=RecommendSettings(exclude_seen=False))
    assert "lamp" in shown
    assert "keyboard" not in shown


def test_a_guest_is_known_by_the_session() -> None:
    query = Query(session=(Signal("view", NOON, "kettle"),))
    assert ids(query)[0] == "teapot"
    assert fallback(query) is None


def test_a_guest_is_known_by_a_sentence() -> None:
    assert ids(Query(text_vector=LAMP))[0] == "lamp"
    (slate,) = tiny_recommender().recommend([Query(text_vector=LAMP)])
    assert (slate.items[0].source, slate.fallback) == ("query_text", None)


def test_a_search_of_the_session_counts() -> None:
    assert ids(Query(session=(Signal("search", NOON, text_vector=LAMP),)))[0] == "lamp"


def test_what_was_searched_for_a_moment_ago_goes_before_the_history() -> None:
    search = Signal("search", NOON, text_vector=LAMP)
    assert ids(Query(user_id="ann", session=(search,)))[0] == "lamp"


def test_how_much_a_search_of_the_session_counts_is_learned_but_not_for_a_text_of_the_request() -> None:
    deaf = Fusion(session_text=0.02)
    session, with_text = (
        Query(user_id="ann", session=(Signal("search", NOON, text_vector=LAMP),)),
        Query(text_vector=LAMP),
    )
    assert ids(session, fusion=deaf)[0] == "mouse"
    assert ids(with_text, fusion=deaf)[0] == "lamp"


def test_of_searches_at_one_time_the_last_in_the_session_counts() -> None:
    first, last = (Signal("search", NOON, text_vector=vector) for vector in (KETTLE, LAMP))
    assert ids(Query(session=(first, last)))[0] == "lamp"


def test_each_later_event_makes_a_search_count_less() -> None:
    views = tuple(Signal("view", NOON + timedelta(minutes=k), item_id) for k, item_id in enumerate(["kettle"] * 12, 1))
    assert ids(Query(session=(Signal("search", NOON, text_vector=LAMP), *views)))[0] == "teapot"


def test_a_stored_browsing_profile_counts() -> None:
    assert ids(Query(user_id="cat"))[0] == "lamp"
    assert fallback(Query(user_id="cat")) is None


def test_an_item_page_shows_what_goes_with_the_item_and_not_the_item() -> None:
    shown = ids(Query(item_ids=("teapot",)))
    assert shown[0] == "kettle"
    assert "teapot" not in shown


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
    shown = ids(Query(user_id="ann", exclude_ids=frozenset({"lamp", "unheard-of"})), available=available)
    assert sorted(shown) == ["kettle", "teapot"]


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
    shown = ids(Query(user_id="bob"))
    assert "kettle" not in shown
    assert fallback(Query(user_id="bob")) == "no_history"


def test_similar_items_are_near_in_text_and_behaviour() -> None:
    slate = tiny_recommender().similar("mouse", 2)
    assert slate.items[0].item_id == "keyboard"
    assert slate.items[0].source == "similar"
    assert "mouse" not in [item.item_id for item in slate.items]


def test_similar_items_keep_no_places_and_leave_out_what_may_not_be_shown() -> None:
    recommender = tiny_recommender(
        (True, True, True, True, False), new_items=NewItemsSettings(share=0.5), repeats=Repeats(allowed=True)
    )
    slate = recommender.similar("lamp", 9, frozenset({"kettle"}))
    assert [item.item_id for item in slate.items] == ["mouse", "keyboard"]
    assert {item.source for item in slate.items} == {"similar"}


def test_an_unknown_item_names_the_nearest_ids() -> None:
    with pytest.raises(QueryError, match=r"'keybord' is not in this release; nearest ids: keyboard"):
        tiny_recommender().similar("keybord", 2)


@pytest.mark.parametrize("event_type", ["impression", "search"])
def test_what_was_only_shown_or_searched_for_was_not_seen(event_type: str) -> None:
    assert "mouse" in ids(Query(session=(Signal(event_type, NOON, "mouse"),)))


def test_a_silent_sequence_model_and_no_ranker_leave_the_weighted_sum_of_the_others() -> None:
    """Of the default weights 1.7 are personal; for ann 0.5 of these speak and take over the others' share."""
    recommender = tiny_recommender()
    scores, _, _ = source_scores(recommender, [Query(user_id="ann")])
    standard = dict(zip([source.name for source in recommender.sources], z_scores(scores)[:, 0], strict=True))
    assert not standard["sequence"].any() and not standard["browsing"].any()
    fading = 1 / (1 + np.array([3, 5, 0, 4, 2]) / 30)
    personal = 0.2 * standard["linear"] + 0.1 * standard["factors"] + 0.2 * fading * standard["text"]
    expected = (1.7 / 0.5 * personal + 0.2 * standard["trending"] + 0.05 * standard["popular"]) / 1.95
    (slate,) = recommender.recommend([Query(user_id="ann")])
    order = [row for row in np.argsort(-expected) if ITEM_IDS[row] != "keyboard"]
    assert [item.item_id for item in slate.items] == [ITEM_IDS[row] for row in order]
    assert [item.score for item in slate.items] == pytest.approx(expected[order], abs=1e-5)
