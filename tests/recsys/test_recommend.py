from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storefronts import (
    ITEM_IDS,
    NOON,
    READER,
    TEXT,
    item_entry,
    text_entry,
    tiny_model,
    tiny_recommender,
    users_with,
)

from recsys.batch_scoring import ranker_proposals, shoppers, source_scores
from recsys.config import NewItemsSettings, RecommendSettings
from recsys.errors import QueryError
from recsys.filters import HasAttribute, OfBrand
from recsys.fusion import Fusion, z_scores
from recsys.new_items import is_slot
from recsys.query import Query, Signal
from recsys.ranking import Ranker
from recsys.recommend import Recommender
from recsys.repeats import Repeats
from recsys.rules import Boost, Rules
from recsys.scorer import Scorer
from recsys.sequence import Sequences
from recsys.slate import Slate
from recsys.tables import EVENT_TYPES
from recsys.top_k import top_k

LAMP = TEXT[ITEM_IDS.index("lamp")]
KETTLE = TEXT[ITEM_IDS.index("kettle")]
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


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
    viewed = Query(session=(Signal("view", NOON, "mouse"),))
    assert "mouse" not in ids(viewed)
    assert "mouse" in ids(viewed, settings=RecommendSettings(exclude_seen=False))


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


BUYS = Repeats(allowed=True, after_days=7.0)


@pytest.mark.parametrize(
    ("repeats", "age", "comes_back"),
    [
        (Repeats(), 1000 * DAY, False),
        (BUYS, 7 * DAY - MINUTE, False),
        (BUYS, 7 * DAY, True),
        (BUYS, 1000 * DAY, True),
    ],
)
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_what_was_bought_comes_back_only_where_that_is_usual_and_late_enough(
    repeats: Repeats, age: timedelta, comes_back: bool, exclude_seen: bool
) -> None:
    query = Query(user_id="ann", asked_at=NOON + age)
    shown = ids(query, repeats=repeats, settings=RecommendSettings(exclude_seen=exclude_seen))
    assert ("keyboard" in shown) is comes_back


def test_it_comes_back_as_what_was_bought() -> None:
    (slate,) = tiny_recommender(repeats=BUYS).recommend([Query(user_id="ann", asked_at=NOON + 8 * DAY)])
    assert (slate.items[0].item_id, slate.items[0].source) == ("keyboard", "buy_again")


def test_unless_it_is_told_the_moment_is_that_of_the_newest_event() -> None:
    assert "keyboard" not in ids(Query(user_id="ann"), repeats=BUYS)
    later = Signal("view", NOON + 8 * DAY, "lamp")
    assert "keyboard" in ids(Query(user_id="ann", session=(later,)), repeats=BUYS)


def test_what_was_only_looked_at_does_not_come_back() -> None:
    users = users_with({"ann": [item_entry("keyboard", event_type="cart", n_bought=0)]})
    assert "keyboard" not in ids(Query(user_id="ann", asked_at=NOON + 99 * DAY), users=users, repeats=BUYS)


@pytest.mark.parametrize("event_type", ["purchase", "rating", "return"])
def test_what_the_session_says_is_had_counts_as_bought(event_type: str) -> None:
    query = Query(session=(Signal(event_type, NOON, "mouse"),), asked_at=NOON + DAY)
    unhidden = RecommendSettings(exclude_seen=False)
    assert "mouse" not in ids(query, settings=unhidden)
    assert "mouse" not in ids(query, settings=unhidden, repeats=BUYS)
    later = ids(replace(query, asked_at=NOON + 9 * DAY), settings=unhidden, repeats=BUYS)
    assert ("mouse" in later) == (event_type != "return")  # what was sent back is not wanted again


def weights_after(*session: Signal, **of_the_shop) -> dict[str, float]:
    """How much each item says of ann's wishes, before a root and recency."""
    reader = tiny_recommender(**of_the_shop).reader
    entries, _ = reader._with_session(reader.users.history("ann"), session)
    return {ITEM_IDS[row]: float(weight) for row, weight in zip(entries.item_rows, entries.weights, strict=True)}


def test_a_rating_of_the_session_weighs_by_its_stars_as_in_the_night() -> None:
    stars = {"kettle": 5.0, "lamp": 3.5, "mouse": 1.0, "teapot": None}
    session = [Signal("rating", NOON + DAY, item_id, value=value) for item_id, value in stars.items()]
    assert weights_after(*session) == {"keyboard": 5.0, "kettle": 5.0, "lamp": 2.5, "mouse": 0.0, "teapot": 5.0}


def test_a_return_in_the_session_leaves_a_fifth_of_all_that_was_done_with_the_item() -> None:
    session = [Signal(kind, NOON + DAY, "keyboard") for kind in ("view", "return")]
    assert weights_after(*session) == pytest.approx({"keyboard": 0.2 * (5 + 1)})


@pytest.mark.parametrize("event_type", ["impression", "search"])
def test_what_was_only_shown_or_searched_for_was_not_seen(event_type: str) -> None:
    assert "mouse" in ids(Query(session=(Signal(event_type, NOON, "mouse"),)))


def bought(query: Query, **of_the_shop) -> dict[str, float]:
    """How much each item calls for being bought again."""
    (row,) = shoppers(tiny_recommender(repeats=BUYS, **of_the_shop), [query]).bought.toarray()
    return {item_id: float(value) for item_id, value in zip(ITEM_IDS, row, strict=True) if value}


def test_purchases_of_the_session_add_to_the_stored_ones() -> None:
    users = users_with({"ann": [item_entry("keyboard", n_bought=2), item_entry("kettle")]})
    again = Signal("purchase", NOON + 10 * DAY, "keyboard")
    strengths = bought(Query(user_id="ann", session=(again,), asked_at=NOON + 20 * DAY), users=users)
    assert strengths == pytest.approx({"keyboard": np.log(4) * 2 ** (-10 / 90), "kettle": np.log(2) * 2 ** (-20 / 90)})


def test_purchases_of_one_session_add_up() -> None:
    twice = (Signal("purchase", NOON, "lamp"), Signal("view", NOON, "mouse"), Signal("purchase", NOON + DAY, "lamp"))
    assert bought(Query(session=twice, asked_at=NOON + 9 * DAY)) == pytest.approx({"lamp": np.log(3) * 2 ** (-8 / 90)})


HALF = NewItemsSettings(share=0.5)
"""Every second place is kept."""


def slate_of(query: Query, **of_the_shop) -> Slate:
    return tiny_recommender(**of_the_shop).recommend([query])[0]


def test_a_new_item_has_a_place_of_its_own() -> None:
    slate = slate_of(Query(user_id="ann", count=4), new_items=HALF)
    assert [item.item_id for item in slate.items[:2]] == ["mouse", "lamp"]
    assert [item.source == "new" for item in slate.items] == [False, True, False, False]
    assert [item.rank for item in slate.items] == [1, 2, 3, 4]
    assert sorted(item.item_id for item in slate.items) == ["kettle", "lamp", "mouse", "teapot"]


def test_by_default_the_tenth_place_is_kept_so_a_short_list_shows_none() -> None:
    assert "new" not in {item.source for item in slate_of(Query(user_id="ann"), new_items=NewItemsSettings()).items}
    assert ids(Query(user_id="ann")) == ids(Query(user_id="ann"), new_items=NewItemsSettings(share=0.0))


@pytest.mark.parametrize("promising", ["lamp", "teapot"])
def test_the_most_promising_new_item_goes_first(promising: str) -> None:
    promise = np.where(np.array(ITEM_IDS) == promising, 9.0, 0.0).astype(np.float32)
    few_buyers = NewItemsSettings(share=0.5, max_shoppers=2)  # the teapot's two shoppers leave it new
    slate = slate_of(Query(user_id="ann", count=2), new_items=few_buyers, promise=promise)
    assert (slate.items[1].item_id, slate.items[1].source) == (promising, "new")


def test_an_item_without_a_place_in_the_item_space_has_none_in_the_list() -> None:
    """Nothing is known of it, not even a text: it would be shown to everyone for no reason."""
    sequence = tiny_model().sequence
    vectors = sequence.item_vectors.copy()
    vectors[ITEM_IDS.index("lamp")] = 0.0
    slate = slate_of(Query(user_id="ann"), new_items=HALF, sequence=replace(sequence, item_vectors=vectors))
    assert "new" not in {item.source for item in slate.items}


@given(
    st.sampled_from([0.0, 0.1, 0.25, 0.34, 0.5]),
    st.integers(0, 5),
    st.integers(0, 7),
    st.sampled_from(["ann", "bob", "cat", "nobody"]),
    st.sets(st.sampled_from(ITEM_IDS)),
    st.tuples(*[st.booleans()] * 5),
)
@settings(max_examples=60)
def test_kept_places_hold_new_items_and_none_is_hidden_or_shown_twice(
    share, max_shoppers, count, user_id, excluded, available
) -> None:
    recommender = tiny_recommender(available, new_items=NewItemsSettings(share=share, max_shoppers=max_shoppers))
    hidden = excluded | {item_id for item_id, sold in zip(ITEM_IDS, available, strict=True) if not sold}
    hidden |= {"ann": {"keyboard"}, "bob": {"kettle"}}.get(user_id, set())
    new = {ITEM_IDS[row] for row in np.flatnonzero(recommender.model.popularity <= max_shoppers)} - hidden
    (slate,) = recommender.recommend([Query(user_id=user_id, count=count, exclude_ids=frozenset(excluded))])
    shown = [item.item_id for item in slate.items]
    assert len(shown) == len(set(shown)) == min(count, len(ITEM_IDS) - len(hidden))
    assert not set(shown) & hidden
    for place, item in enumerate(slate.items):
        left = new - set(shown[:place])
        assert (item.source == "new") == (is_slot(place, share) and bool(left))
        assert item.source != "new" or item.item_id in left


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


class LeastPopularFirst(Ranker):
    """A ranker that anybody can foresee. It knows nothing of what the session's text asks for."""

    def reads(self, source: str) -> bool:
        return source != "query_text"

    def scores(self, features: np.ndarray) -> np.ndarray:
        return -features[:, self.names.index("popular_score")]


def ranked(**of_the_shop) -> Recommender:
    names = tuple(tiny_recommender(**of_the_shop).feature_names)
    return tiny_recommender(**of_the_shop, ranker=LeastPopularFirst("", names))


def test_the_ranker_orders_what_the_sources_propose() -> None:
    (slate,) = ranked().recommend([Query(user_id="ann")])
    assert [item.item_id for item in slate.items] == ["lamp", "teapot", "kettle", "mouse"]  # 0, 2, 3, 4 shoppers
    scores = [item.score for item in slate.items]
    assert scores == sorted(scores, reverse=True)
    assert "new" not in {item.source for item in slate.items}


def test_the_ranker_knows_a_guest_by_the_session() -> None:
    guest = Query(session=(Signal("view", NOON, "keyboard"),))
    assert [item.item_id for item in ranked().recommend([guest])[0].items] == ["lamp", "teapot", "kettle", "mouse"]


@pytest.mark.parametrize(
    "query",
    [
        Query(user_id="ann", item_ids=("teapot",)),
        Query(user_id="ann", text_vector=KETTLE),
        Query(user_id="ann", session=(Signal("search", NOON, text_vector=KETTLE),)),
        Query(item_ids=("teapot",)),
        Query(text_vector=KETTLE),
        Query(user_id="bob"),  # liked nothing
        Query(user_id="cat"),  # only searched
        Query(user_id="nobody"),
        Query(),
    ],
    ids=["page", "sentence", "search", "guest's page", "guest's sentence", "bob", "cat", "nobody", "guest"],
)
def test_a_page_a_sentence_and_a_stranger_are_left_to_the_weighted_sum(query: Query) -> None:
    assert ranked().recommend([query]) == tiny_recommender().recommend([query])


class LeastLikeTheSearchFirst(Ranker):
    """A ranker that has met searches."""

    def reads(self, source: str) -> bool:
        return True

    def scores(self, features: np.ndarray) -> np.ndarray:
        return -features[:, self.names.index("query_text_score")]


def test_a_ranker_that_has_met_searches_orders_what_a_search_asks_for() -> None:
    search = Query(user_id="ann", session=(Signal("search", NOON, text_vector=KETTLE),))
    ranker = LeastLikeTheSearchFirst("", tuple(tiny_recommender().feature_names))
    first, *_, last = ids(search, ranker=ranker)
    assert last == "kettle" == ids(search)[0]
    assert first != "kettle"


def test_what_the_ranker_was_not_shown_follows_in_the_order_of_the_weighted_sum() -> None:
    """With one proposal a source, ann is proposed the mouse, and the teapot by what trends."""
    shop = {"trend": np.array([0.3, 0.9, 0.0, 0.4, 2.0], dtype=np.float32), "ranker_pool": 1}
    shown = [item.item_id for item in ranked(**shop).recommend([Query(user_id="ann")])[0].items]
    others = [item_id for item_id in ids(Query(user_id="ann"), **shop) if item_id not in ("teapot", "mouse")]
    assert shown == ["teapot", "mouse", *others]


def test_a_place_of_its_own_is_kept_for_a_new_item_whatever_the_ranker_says() -> None:
    few_buyers = NewItemsSettings(share=0.5, max_shoppers=2)
    (slate,) = ranked(new_items=few_buyers).recommend([Query(user_id="ann")])
    assert [(item.item_id, item.source == "new") for item in slate.items[:2]] == [("lamp", False), ("teapot", True)]


def test_a_ranker_of_other_sources_is_left_out() -> None:
    """It was learned when bought items did not come back, and now they do: there is one source more."""
    names = tuple(tiny_recommender().feature_names)
    query = Query(user_id="ann", asked_at=NOON + 9 * DAY)
    of_before = tiny_recommender(repeats=BUYS, ranker=LeastPopularFirst("", names))
    assert of_before.recommend([query]) == tiny_recommender(repeats=BUYS).recommend([query])


def test_the_ranker_learns_from_what_it_will_be_given() -> None:
    recommender = tiny_recommender(repeats=BUYS)
    queries = [Query(user_id="ann"), Query(user_id="ann", asked_at=NOON + 9 * DAY), Query()]
    bought_lately, bought_long_ago, stranger = ranker_proposals(recommender, queries)
    assert [ITEM_IDS[row] for row in bought_lately[0].item_rows] == ["kettle", "lamp", "mouse", "teapot"]
    assert [ITEM_IDS[row] for row in bought_long_ago[0].item_rows] == ITEM_IDS
    assert [ITEM_IDS[row] for row in stranger[0].item_rows] == ITEM_IDS
    assert bought_long_ago[0].features.shape == (5, len(recommender.feature_names))
    for (proposals, sums), slate in zip(
        ranker_proposals(recommender, queries), recommender.recommend(queries), strict=True
    ):
        by_id = {ITEM_IDS[row]: value for row, value in zip(proposals.item_rows, sums, strict=True)}
        assert {item.item_id: item.score for item in slate.items} == pytest.approx(by_id, abs=1e-5)


Read = tuple[str | np.ndarray, str, datetime]
"""An item id or a text's vector, the event type, and when."""


def query_vectors(*queries: Query, **of_the_shop) -> np.ndarray:
    """(n, dim) query vectors that the shop's sequence source is given."""
    return shoppers(tiny_recommender(sequence=READER, **of_the_shop), queries).query_vectors


def reading(entries: Sequence[Read]) -> np.ndarray:
    """(1, dim) what the model makes of just these entries."""
    texts = [what for what, _, _ in entries if not isinstance(what, str)]
    places = iter(range(len(texts)))
    sequences = Sequences(
        np.array([0, len(entries)]),
        np.array([ITEM_IDS.index(what) if isinstance(what, str) else -1 for what, _, _ in entries], dtype=np.int32),
        np.array([EVENT_TYPES.index(kind) for _, kind, _ in entries], dtype=np.int8),
        np.array([int(at.timestamp() * 1_000_000) for _, _, at in entries]),
        np.array([-1 if isinstance(what, str) else next(places) for what, _, _ in entries], dtype=np.int32),
    )
    return READER.query_vectors(sequences, np.stack(texts) if texts else None)


STORED: Read = ("keyboard", "purchase", NOON)
SEARCH = Signal("search", NOON + HOUR, text_vector=LAMP)


@pytest.mark.parametrize(
    ("query", "entries"),
    [
        (Query(user_id="ann"), [STORED]),
        (Query(user_id="cat"), [(LAMP, "search", NOON)]),
        (Query(session=(SEARCH,)), [(LAMP, "search", NOON + HOUR)]),
        (
            Query(user_id="ann", session=(Signal("view", NOON + 2 * HOUR, "mouse"), SEARCH)),
            [STORED, (LAMP, "search", NOON + HOUR), ("mouse", "view", NOON + 2 * HOUR)],
        ),
        (
            Query(user_id="cat", session=(Signal("search", NOON + HOUR, text_vector=KETTLE),)),
            [(LAMP, "search", NOON), (KETTLE, "search", NOON + HOUR)],
        ),
        (  # a page that was read, its text behind the item
            Query(session=(Signal("view", NOON, "teapot", KETTLE),)),
            [("teapot", "view", NOON), (KETTLE, "view", NOON)],
        ),
        (
            Query(user_id="ann", item_ids=("teapot", "lamp"), asked_at=NOON + DAY),
            [STORED, ("lamp", "view", NOON + DAY), ("teapot", "view", NOON + DAY)],
        ),
        (
            Query(user_id="ann", item_ids=("keyboard",), asked_at=NOON + DAY),
            [("keyboard", "view", NOON + DAY)],
        ),
        (
            Query(user_id="ann", session=(SEARCH,), text_vector=KETTLE),
            [STORED, (LAMP, "search", NOON + HOUR), (KETTLE, "search", NOON + HOUR)],
        ),
        (  # disliked, merely shown and unknown things say nothing of what comes next
            Query(
                user_id="bob",
                session=(
                    Signal("return", NOON, "mouse"),
                    Signal("impression", NOON, "lamp"),
                    Signal("view", NOON, "unheard-of"),
                    Signal("cart", NOON, "teapot"),
                ),
            ),
            [("teapot", "cart", NOON)],
        ),
        (  # the newest four are read
            Query(
                user_id="ann",
                session=tuple(Signal("search", NOON + k * HOUR, text_vector=TEXT[k]) for k in range(5)),
                text_vector=KETTLE,
            ),
            [*[(TEXT[k], "search", NOON + k * HOUR) for k in (2, 3, 4)], (KETTLE, "search", NOON + 4 * HOUR)],
        ),
    ],
    ids=["items", "texts", "search", "session", "both", "page text", "page", "same", "sentence", "disliked", "longest"],
)
def test_items_and_texts_are_read_as_one_history(query: Query, entries: list[Read]) -> None:
    np.testing.assert_allclose(query_vectors(query), reading(entries), atol=1e-6)


def test_there_is_nothing_to_expect_of_a_stranger() -> None:
    assert not query_vectors(Query(user_id="nobody"), Query()).any()


def test_histories_are_read_alike_alone_and_in_a_batch() -> None:
    both = Query(user_id="cat", session=(SEARCH, Signal("view", NOON + DAY, "teapot")), text_vector=KETTLE)
    kettle = Query(session=(Signal("search", NOON, text_vector=KETTLE),))
    queries = [kettle, Query(user_id="ann"), both, Query(), Query(user_id="cat"), Query(text_vector=TEXT[1])]
    together = query_vectors(*queries)
    np.testing.assert_allclose(together, np.concatenate([query_vectors(query) for query in queries]), atol=1e-6)


def test_an_item_of_session_and_stored_history_moves_to_its_newest_place() -> None:
    mouse = item_entry("mouse", weight=1.0, at=NOON + MINUTE, event_type="view", n_bought=0)
    users = users_with({"ann": [item_entry("keyboard", n_bought=1), mouse]})
    query = Query(user_id="ann", session=(Signal("view", NOON + HOUR, "keyboard"),))
    moved = [("mouse", "view", NOON + MINUTE), ("keyboard", "purchase", NOON + HOUR)]  # a view does not undo a purchase
    np.testing.assert_allclose(query_vectors(query, users=users), reading(moved), atol=1e-6)
    (history,) = shoppers(tiny_recommender(users=users), [query]).history.toarray()
    steps_back = np.array([0, 1, 0, 0.8 * np.sqrt(1 / 5), 0])  # weights 5 + 1, at most 5, and 1
    np.testing.assert_allclose(history, steps_back, rtol=1e-6)


def test_an_item_met_twice_in_a_session_stands_at_its_last_event() -> None:
    views = [Signal("cart", NOON, "mouse"), Signal("view", NOON + HOUR, "lamp"), Signal("view", NOON + DAY, "mouse")]
    events = [("lamp", "view", NOON + HOUR), ("mouse", "cart", NOON + DAY)]
    np.testing.assert_allclose(query_vectors(Query(session=tuple(views))), reading(events), atol=1e-6)


def test_a_stored_text_is_read_again_when_it_is_in_the_middle_of_things() -> None:
    """Text rows of stored entries and of the session point into different arrays."""
    users = users_with({"ann": [text_entry(1), item_entry("kettle")]}, texts=np.stack([LAMP, KETTLE]))
    query = Query(user_id="ann", session=(SEARCH,))
    events = [(KETTLE, "search", NOON), ("kettle", "purchase", NOON), (LAMP, "search", NOON + HOUR)]
    np.testing.assert_allclose(query_vectors(query, users=users), reading(events), atol=1e-6)


def test_what_is_expected_next_shapes_the_list() -> None:
    query = Query(user_id="ann")
    scores = READER.item_vectors @ query_vectors(query)[0]
    by_sequence = [ITEM_IDS[row] for row in np.argsort(-scores) if ITEM_IDS[row] != "keyboard"]
    weights = {**tiny_model().fusion.weights, "sequence": 1000.0}
    slate = slate_of(query, sequence=READER, fusion=replace(tiny_model().fusion, weights=weights))
    assert [item.item_id for item in slate.items] == by_sequence
    assert slate.items[0].source == "sequence"


@given(st.lists(st.one_of(st.floats(-5, 5, width=16), st.just(-np.inf)), max_size=30), st.integers(0, 40))
def test_top_k_is_the_start_of_a_stable_sort(values: list[float], k: int) -> None:
    scores = np.array(values, dtype=np.float32)
    expected = [row for row in np.argsort(-scores, kind="stable") if scores[row] > -np.inf][:k]
    assert top_k(scores, k).tolist() == expected


def test_what_was_disliked_or_returned_does_not_come_back_even_where_repeats_are_allowed() -> None:
    shown = ids(Query(user_id="bob", asked_at=NOON + timedelta(days=99)), repeats=Repeats(allowed=True))
    assert "kettle" not in shown


QUERIES = [
    Query(user_id="ann"),
    Query(user_id="ann", by_ranker=False),
    Query(user_id="ann", exclude_ids=frozenset({"lamp"})),
    Query(user_id="ann", rules=Rules(boosts=(Boost(OfBrand(("Type",)), 0.0),))),
    Query(user_id="ann", rules=Rules(filter=OfBrand(("Type",)))),
    Query(user_id="ann", asked_at=NOON + DAY),
    Query(user_id="ann", text_vector=LAMP, text="lamp", search=True),
    Query(user_id="ann", text_vector=LAMP, text="mouse", search=True),
    Query(user_id="ann", text_vector=LAMP),
    Query(user_id="ann", session=(Signal("view", NOON + DAY, "kettle"),), explain=True),
    Query(session=(Signal("view", NOON + DAY, "kettle"),)),
    Query(item_ids=("kettle",)),
    Query(),
]


@given(queries=st.lists(st.sampled_from(QUERIES), min_size=2, max_size=12))
@settings(max_examples=40, deadline=None)
def test_what_was_asked_before_changes_no_answer(queries: list[Query]) -> None:
    """Scores of the last shoppers are kept: under a key of all that they hang on, and as they were."""
    recommender = ranked(sequence=READER)
    assert [recommender.recommend([query]) for query in queries] == [
        ranked(sequence=READER).recommend([query]) for query in queries
    ]


def test_searches_that_are_asked_together_are_ranked_for_each_shopper() -> None:
    """Their words are in titles alone, so that nothing tells the two shoppers' requests apart but who asks."""
    queries = [
        Query(session=(Signal("view", NOON, item_id),), text="lamp", search=True, by_ranker=True)
        for item_id in ("kettle", "keyboard")
    ]
    together = ranked(sequence=READER).recommend(queries)
    for slate, query in zip(together, queries, strict=True):
        (alone,) = ranked(sequence=READER).recommend([query])
        assert [item.item_id for item in slate.items] == [item.item_id for item in alone.items]
        assert [item.score for item in slate.items] == pytest.approx([item.score for item in alone.items], abs=1e-5)


def test_what_a_shopper_has_not_changed_is_not_scored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = tiny_recommender()
    first = recommender.recommend([Query(user_id="ann")])
    monkeypatch.setattr(Scorer, "scores", lambda *_: pytest.fail("scored again"))
    assert recommender.recommend([Query(user_id="ann")]) == first
    assert recommender.recommend([Query(user_id="ann", count=2)])[0].items == first[0].items[:2]


def test_scored_is_what_sources_and_ranker_scored_before() -> None:
    recommender = ranked(sequence=READER)

    def was_scored(query: Query) -> bool:
        before = recommender.is_scored(query)
        assert recommender.recommend([query]) == ranked(sequence=READER).recommend([query])
        assert recommender.is_scored(query)
        return before

    query = Query(user_id="ann", asked_at=NOON + DAY)
    assert not was_scored(query)
    assert was_scored(replace(query, by_ranker=False))
    assert not was_scored(replace(query, exclude_ids=frozenset({"lamp"})))  # whose order the ranker has not seen


def test_a_filter_is_matched_once_and_not_taken_for_another() -> None:
    recommender = tiny_recommender()
    first = recommender.matching(OfBrand(("Type",)))
    assert recommender.matching(OfBrand(("Type",))) is first
    is_one, is_true = (HasAttribute("wireless", (value,)) for value in (1, True))
    assert recommender.matching(is_one) is not recommender.matching(is_true)


def test_what_happens_now_is_the_same_a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def query(now: datetime) -> Query:
        view = Signal("view", now, "lamp")
        return Query(user_id="ann", session=(view,), item_ids=("kettle",), asked_at=now)

    recommender = tiny_recommender(sequence=READER)
    first = recommender.recommend([query(NOON + DAY)])
    monkeypatch.setattr(Scorer, "scores", lambda *_: pytest.fail("scored again"))
    assert recommender.recommend([query(NOON + DAY + timedelta(seconds=1))]) == first
