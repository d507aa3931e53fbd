"""A list is as long as the shop allows: limits and seen items order it, they do not end it."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from storefronts import NOON, mute_sequence_model, no_item_features, slate_of, tiny_model, users_with

from recsys.candidates import Factors
from recsys.config import InteractionsSettings, NewItemsSettings, RecommendSettings, ScenariosSettings
from recsys.properties import Properties
from recsys.query import Query, Signal
from recsys.recommend import Recommender
from recsys.rerank import Limit, fill_up, with_pins
from recsys.rules import RELAXABLE, SEEN_ITEMS, Pin, Rules
from recsys.whitening import unit_rows
from serving.schemas.list_options import ListRequest, settled, to_rules

PRESET = frozenset(RELAXABLE)


def ids(query: Query) -> list[str]:
    return [item.item_id for item in slate_of(query).items]


def viewed(*item_ids: str) -> tuple[Signal, ...]:
    return tuple(Signal("view", NOON, item_id) for item_id in item_ids)


@pytest.mark.parametrize("name", ["max_per_category", "max_per_brand"])
def test_a_limit_that_may_be_relaxed_orders_the_list_and_does_not_end_it(name: str) -> None:
    free = slate_of(Query(user_id="ann", count=4))
    limited = slate_of(Query(user_id="ann", count=4, rules=Rules(**{name: 1}, relaxable=PRESET)))
    hard = slate_of(Query(user_id="ann", count=4, rules=Rules(**{name: 1})))
    assert len(hard.items) < len(limited.items) == len(free.items) == 4
    assert (limited.relaxed, hard.relaxed, free.relaxed) == ((name,), (), ())
    assert limited.items[: len(hard.items)] == hard.items


def test_who_has_seen_everything_sees_it_again_at_the_end() -> None:
    slate = slate_of(Query(session=viewed("kettle", "lamp"), count=5))
    assert {item.item_id for item in slate.items[3:]} == {"kettle", "lamp"}
    assert [item.source == "seen" for item in slate.items] == [False, False, False, True, True]
    assert [item.rank for item in slate.items] == [1, 2, 3, 4, 5]
    assert slate.relaxed == (SEEN_ITEMS,)


def test_seen_items_are_shown_only_as_far_as_the_list_is_short() -> None:
    slate = slate_of(Query(session=viewed("kettle", "lamp"), count=4))
    assert sum(item.source == "seen" for item in slate.items) == 1
    assert slate_of(Query(session=viewed("kettle", "lamp"), count=3)).relaxed == ()


def test_bought_excluded_and_page_items_do_not_come_back() -> None:
    query = Query(
        user_id="ann", session=viewed("kettle", "lamp", "mouse"), item_ids=("mouse",), exclude_ids=frozenset({"lamp"})
    )
    assert sorted(ids(query)) == ["kettle", "teapot"]  # ann has bought the keyboard


def test_seen_items_stay_hidden_where_the_request_says_so() -> None:
    query = Query(session=viewed("kettle", "lamp"), rules=Rules(relaxable=frozenset()))
    assert sorted(ids(query)) == ["keyboard", "mouse", "teapot"]


def test_a_filled_up_list_keeps_its_pins_in_place() -> None:
    rules = Rules(max_per_category=1, pins=(Pin("kettle", 5),), relaxable=PRESET)
    slate = slate_of(Query(count=5, rules=rules))
    assert (slate.items[4].item_id, slate.items[4].source, len(slate.items)) == ("kettle", "pinned", 5)


def test_the_reason_of_a_seen_item_is_as_of_any_other() -> None:
    slate = slate_of(Query(session=viewed("kettle", "lamp"), explain=True))
    explained = slate.items[-1].explanation
    assert explained is not None
    assert explained.reason.text


def test_limits_give_way_in_their_order() -> None:
    brands, variants = np.array([0, 0, 0, 0]), np.array([0, 0, 1, 2])
    limits = [Limit("max_per_brand", brands, 1), Limit("collapse_variants", variants, 1)]
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    assert fill_up([0], scores, limits, PRESET, 4) == [2, 3, 1]  # another variant of item 0 last of all
    assert fill_up([0], scores, limits, {"max_per_brand"}, 4) == [2, 3]
    assert fill_up([0], scores, limits, (), 4) == []


def test_pins_stand_at_their_places_or_at_the_end() -> None:
    assert with_pins(["a", "b", "c"], {1: "pin"}, 4) == ["a", "pin", "b", "c"]
    assert with_pins(["a"], {3: "pin"}, 9) == ["a", "pin"]


def shop_of(n_items: int, n_brands: int, n_categories: int, n_variants: int, available: Sequence[bool]) -> Recommender:
    """Items whose brands, categories and products take turns; nothing is known of them but their texts."""
    rng = np.random.default_rng(n_items)
    text = unit_rows(rng.normal(size=(n_items, 3)).astype(np.float32))
    rows = range(n_items)
    model = tiny_model(
        item_ids=pl.Series("item_id", [f"i{row:02}" for row in rows]),
        sequence=mute_sequence_model(text, text[:, :2]),
        linear=sp.csr_matrix((n_items, n_items), dtype=np.float32),
        factors=Factors(text[:, :2].copy(), regularization=0.01, alpha=10.0),
        text=text,
        whitened=text,
        popularity=np.arange(n_items, dtype=np.float32),
        trend=np.zeros(n_items, dtype=np.float32),
        repeat_rates=np.zeros(n_items, dtype=np.float32),
        promise=np.zeros(n_items, dtype=np.float32),
        item_features=no_item_features(n_items),
    )
    items = pl.DataFrame(
        {
            "item_id": model.item_ids,
            "title": [f"Product {row % n_variants}" for row in rows],
            "category": [f"Shelf {row % n_categories}" for row in rows],
            "brand": [f"Brand {row % n_brands}" for row in rows],
            "price": [10.0] * n_items,
            "available": list(available),
            "updated_at": [NOON] * n_items,
            "attributes": [f'{{"group": "product {row % n_variants}"}}' for row in rows],
        }
    )
    return Recommender(
        model,
        users_with({}),
        Properties.of_table(items),
        RecommendSettings(),
        NewItemsSettings(),
        InteractionsSettings(),
    )


def sizes(n_items: int) -> st.SearchStrategy[int]:
    return st.sampled_from(sorted({1, min(2, n_items), n_items}))


@st.composite
def visits(draw: st.DrawFn) -> tuple[Recommender, list[bool], ListRequest]:
    """A shop of 1 to 60 items, which of them are available, and a request of a shopper who has viewed some or all."""
    n_items = draw(st.integers(1, 60))
    one_left = [row == 0 for row in range(n_items)]
    drawn = st.lists(st.booleans(), min_size=n_items, max_size=n_items)
    available = draw(st.one_of(st.just([True] * n_items), st.just(one_left), drawn))
    recommender = shop_of(n_items, draw(sizes(n_items)), draw(sizes(n_items)), draw(sizes(n_items)), available)
    item_ids = recommender.item_ids
    seen = draw(st.one_of(st.just(item_ids), st.lists(st.sampled_from(item_ids), unique=True, max_size=10)))
    request = {
        "user_id": "nobody",
        "session": [{"item_id": item_id, "event_type": "view"} for item_id in seen[:50]],
        "scenario": draw(st.sampled_from([None, "home", "product", "cart", "search", "email"])),
    }
    return recommender, available, ListRequest.model_validate(request)


@settings(max_examples=60, deadline=None)
@given(visits())
def test_a_list_holds_as_many_items_as_may_be_shown(visit: tuple[Recommender, list[bool], ListRequest]) -> None:
    recommender, available, request = visit
    request = settled(request, ScenariosSettings())
    session = tuple(Signal("view", NOON, event.item_id) for event in request.session)
    query = Query(session=session, count=request.count, rules=to_rules(request))
    (slate,) = recommender.recommend([query])
    assert len(slate.items) == min(request.count, sum(available))
    assert len({item.item_id for item in slate.items}) == len(slate.items)
