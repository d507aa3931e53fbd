from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from storefronts import ITEM_IDS, tiny_recommender

from recsys.config import NewItemsSettings
from recsys.filters import InCategory, OfBrand
from recsys.new_items import with_new_items
from recsys.query import Query
from recsys.rerank import NEW, PINNED, Limit, arrange, boosted
from recsys.rules import Boost, Pin, Rules
from recsys.top_k import top_k

NO_ROWS = np.zeros(0, dtype=np.int64)


def rows(scores: list[float], **of_the_rules) -> list[int]:
    """The rows of a list over five orthogonal items or what is given, all places by score."""
    rules = {
        "new_ranked": NO_ROWS,
        "pinned": {},
        "limits": [],
        "vectors": np.eye(len(scores), dtype=np.float32),
        "diversity": 0.0,
        "count": len(scores),
        "new_item_share": 0.0,
    }
    return [row for row, _ in arrange(np.array(scores), **rules | of_the_rules)]


def test_without_rules_the_order_is_that_of_the_scores_and_ties_keep_the_lower_row() -> None:
    assert rows([0.1, 0.5, -np.inf, 0.5, 0.2]) == [1, 3, 4, 0]


def test_a_pin_has_its_place_and_moves_the_others_down() -> None:
    assert rows([5.0, 4.0, 3.0, 2.0], pinned={1: 3}) == [0, 3, 1, 2]


def test_a_pinned_item_is_shown_though_nothing_else_is() -> None:
    assert rows([-np.inf, -np.inf, 1.0], pinned={2: 0}) == [2, 0]
    assert rows([-np.inf, -np.inf], pinned={5: 0}, count=2) == []


def test_a_limit_passes_over_what_would_exceed_it() -> None:
    brands = Limit("max_per_brand", np.array([0, 0, 0, 1, -1, -1]), 2)
    assert rows([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], limits=[brands]) == [0, 1, 3, 4, 5]


def test_a_limit_counts_what_is_pinned() -> None:
    brands = Limit("max_per_brand", np.array([0, 0, 1]), 1)
    assert rows([3.0, 2.0, 1.0], limits=[brands], pinned={2: 0}) == [2, 0]


def test_limits_are_filled_from_far_below_the_first_candidates() -> None:
    codes = np.array([0] * 500 + [1])
    scores = list(np.linspace(1, 0, 501))
    assert rows(scores, limits=[Limit("max_per_brand", codes, 1)], count=2) == [0, 500]


def test_diversity_prefers_the_unlike_to_the_slightly_better() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    assert rows([1.0, 0.9, 0.8], vectors=vectors, diversity=0.0) == [0, 1, 2]
    assert rows([1.0, 0.9, 0.8], vectors=vectors, diversity=0.6) == [0, 2, 1]


def test_full_diversity_still_begins_with_the_best() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    assert rows([0.5, 0.9, 0.8], vectors=vectors, diversity=1.0)[1] == 2


def test_a_boost_lifts_and_a_factor_of_nothing_puts_last() -> None:
    scores, nothing_hidden = np.array([4.0, 3.0, 2.0, 1.0]), NO_ROWS
    second = np.array([False, True, False, False])
    assert boosted(scores, nothing_hidden, [(second, 5.0)]).argmax() == 1
    assert boosted(scores, nothing_hidden, [(second, 0.1)]).argsort()[::-1].tolist() == [0, 2, 3, 1]
    first = np.array([True, False, False, False])
    assert boosted(scores, nothing_hidden, [(first, 0.0)]).argmin() == 0


def test_a_boost_and_its_inverse_undo_each_other() -> None:
    scores, mask = np.array([4.0, 3.0, 2.0]), np.array([False, True, True])
    np.testing.assert_allclose(boosted(scores, NO_ROWS, [(mask, 4.0), (mask, 0.25)]), scores)


def test_what_is_hidden_does_not_change_what_a_boost_is_worth() -> None:
    scores, mask = np.array([1000.0, 3.0, 2.0]), np.array([False, False, True])
    assert boosted(scores, np.array([0]), [(mask, 8.0)])[2] == pytest.approx(2.0 + 0.5 * np.log(8.0))


def test_boosts_of_equal_scores_and_of_nothing_shown_are_defined() -> None:
    equal, mask = np.ones(3), np.array([False, True, False])
    assert boosted(equal, NO_ROWS, [(mask, 2.0)]).argmax() == 1
    np.testing.assert_array_equal(boosted(equal, np.arange(3), [(mask, 2.0)]), equal)


CASES = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([-np.inf, 0.0, 0.5, 1.0, 2.0, 3.5]), min_size=n, max_size=n).map(np.array),
        st.lists(st.integers(-1, 3), min_size=n, max_size=n).map(np.array),
        st.lists(st.integers(0, n - 1), unique=True, max_size=4),
        st.integers(0, 1_000),
    )
)


@given(CASES, st.integers(0, 45), st.sampled_from([0.0, 0.1, 0.5]), st.integers(0, 2))
def test_without_rules_it_is_the_plain_list(case, count: int, share: float, n_new: int) -> None:
    scores, _, new, _ = case
    new_ranked = np.array([row for row in new if scores[row] > -np.inf][: n_new * 2], dtype=np.int64)
    plain = list(with_new_items(top_k(scores, count), new_ranked, count, share))
    arranged = arrange(scores, new_ranked, {}, [], np.zeros((len(scores), 2)), 0.0, count, share)
    assert [(row, placement == NEW) for row, placement in arranged] == plain


@given(CASES, st.integers(1, 45), st.integers(1, 4), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.5]))
def test_limits_and_pins_are_kept_and_the_list_is_as_long_as_it_can_be(
    case, count: int, most: int, diversity: float, share: float
) -> None:
    scores, codes, chosen, seed = case
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(scores), 3)).astype(np.float32)
    pinned = dict(zip(rng.permutation(count)[: len(chosen)].tolist(), chosen, strict=False))
    new_ranked = np.flatnonzero(scores > 1.0)
    limit = Limit("max_per_brand", codes, most)
    placed = list(arrange(scores, new_ranked, pinned, [limit], vectors, diversity, count, share))
    shown = [row for row, _ in placed]
    assert len(shown) == len(set(shown)) <= count
    assert all(scores[row] > -np.inf for row, placement in placed if placement != PINNED)
    of_pins = Counter(codes[list(pinned.values())].tolist())
    for code, n in Counter(codes[shown].tolist()).items():
        assert code < 0 or n <= max(most, of_pins[code])
    if len(shown) == count:
        assert all(placed[place] == (row, PINNED) for place, row in pinned.items())
    else:  # nothing that could be shown is left
        assert set(pinned.values()) <= set(shown)
        full = {code for code, n in Counter(codes[shown].tolist()).items() if code >= 0 and n >= most}
        left = set(np.flatnonzero(scores > -np.inf).tolist()) - set(shown)
        assert all(codes[row] in full for row in left)


def ids(recommender, query: Query) -> list[str]:
    return [item.item_id for item in recommender.recommend([query])[0].items]


def test_the_plain_rules_change_nothing() -> None:
    recommender = tiny_recommender()
    for query in (Query(user_id="ann"), Query(), Query(item_ids=("lamp",))):
        plain = recommender.recommend([query])[0]
        ruled = Query(query.user_id, item_ids=query.item_ids, rules=Rules(pins=(Pin("unheard-of", 1),)))
        assert recommender.recommend([ruled])[0].items == plain.items


def test_a_boosted_category_goes_first_and_a_buried_brand_last() -> None:
    boost = Rules(boosts=(Boost(InCategory(("Home > Kitchen",)), 100.0),))
    assert set(ids(tiny_recommender(), Query(user_id="ann", rules=boost))[:2]) == {"kettle", "teapot"}
    bury = Rules(boosts=(Boost(OfBrand(("type",)), 0.0),))
    assert ids(tiny_recommender(), Query(user_id="ann", rules=bury))[-1] == "mouse"


def test_a_pin_goes_before_filter_and_history_but_not_before_stock_and_exclusion() -> None:
    rules = Rules(filter=InCategory(("Home",)), pins=(Pin("keyboard", 2), Pin("mouse", 1), Pin("mouse", 3)))
    slate = tiny_recommender((True, True, True, False, True)).recommend([Query(user_id="ann", rules=rules)])[0]
    assert [item.item_id for item in slate.items][1] == "keyboard"
    assert (slate.items[1].source, slate.items[1].rank) == ("pinned", 2)
    assert "mouse" not in [item.item_id for item in slate.items]
    excluded = Query(user_id="ann", rules=rules, exclude_ids=frozenset({"keyboard"}))
    assert "keyboard" not in ids(tiny_recommender(), excluded)


def test_at_most_so_many_of_a_category_and_of_a_brand() -> None:
    limits = Rules(max_per_category=1)
    shown = ids(tiny_recommender(), Query(user_id="nobody", rules=limits))
    assert sorted(shown) == ["kettle", "keyboard", "lamp"]
    assert sorted(ids(tiny_recommender(), Query(user_id="nobody", rules=Rules(max_per_brand=1)))) == sorted(shown)


def test_the_share_of_new_items_is_the_requests_own() -> None:
    recommender = tiny_recommender(new_items=NewItemsSettings(share=0.0))  # nobody has bought the lamp
    half = recommender.recommend([Query(user_id="ann", rules=Rules(new_items=0.5))])[0]
    assert (half.items[1].item_id, half.items[1].source) == ("lamp", "new")
    assert ids(recommender, Query(user_id="ann"))[1] != "lamp"


def test_rules_of_one_query_leave_the_others_of_its_batch_alone() -> None:
    recommender = tiny_recommender()
    plain = Query(user_id="ann")
    ruled = Query(user_id="ann", rules=Rules(filter=OfBrand(("brew",)), diversity=0.5))
    alone = [recommender.recommend([query])[0] for query in (plain, ruled)]
    assert recommender.recommend([plain, ruled]) == alone
    assert set(ITEM_IDS) > {item.item_id for item in alone[1].items}
