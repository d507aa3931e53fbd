"""Which queries the ranker orders, and which are left to the weighted sum of the sources."""

import numpy as np
import pytest
from storefronts import BUYS, DAY, ITEM_IDS, KETTLE, NOON, READER, LeastPopularFirst, ids, ranked, tiny_recommender

from recsys.batch_scoring import ranker_proposals
from recsys.config import NewItemsSettings
from recsys.query import Query, Signal
from recsys.ranking import Ranker


def test_the_ranker_orders_what_the_sources_propose() -> None:
    (slate,) = ranked().recommend([Query(user_id="ann")])
    assert [item.item_id for item in slate.items] == ["lamp", "teapot", "kettle", "mouse"]  # 0, 2, 3, 4 shoppers
    scores = [item.score for item in slate.items]
    assert scores == sorted(scores, reverse=True)
    assert "new" not in {item.source for item in slate.items}


def test_the_ranker_knows_a_guest_by_the_session() -> None:
    guest = Query(session=(Signal("view", NOON, "keyboard"),), count=4)
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
