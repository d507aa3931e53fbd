from datetime import timedelta
from typing import Literal
from unicodedata import normalize

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from storefronts import ITEM_IDS, NOON, catalogue, tiny_recommender

from recsys.filters import (
    And,
    Filter,
    HasAttribute,
    InCategory,
    IsAvailable,
    Not,
    OfBrand,
    Or,
    PriceBetween,
    UpdatedAfter,
    matching,
)
from recsys.properties import Properties, comparable
from recsys.query import Query
from recsys.rules import Rules

SHOP = Properties.of_table(catalogue((True, True, True, False, True)))


def matches(condition: Filter) -> list[str]:
    return [ITEM_IDS[row] for row in np.flatnonzero(matching(condition, SHOP))]


@pytest.mark.parametrize(
    ("condition", "item_ids"),
    [
        (InCategory(("Home",)), ["kettle", "lamp", "teapot"]),
        (InCategory(("home > KITCHEN",)), ["kettle", "teapot"]),
        (InCategory(("Kitchen",)), []),  # a path begins at the root
        (InCategory(("Home > Light", "Office")), ["keyboard", "lamp", "mouse"]),
        (OfBrand(("type",)), ["keyboard", "mouse"]),
        (OfBrand(("nobody",)), []),
        (PriceBetween(25, 30), ["kettle", "mouse"]),
        (PriceBetween(most=24.99), ["teapot"]),
        (PriceBetween(least=31), ["keyboard"]),
        (PriceBetween(), ["kettle", "keyboard", "mouse", "teapot"]),  # those with a price
        (IsAvailable(), ["kettle", "keyboard", "lamp", "teapot"]),
        (IsAvailable(available=False), ["mouse"]),
        (HasAttribute("Colour", ("RED",)), ["kettle", "teapot"]),
        (HasAttribute("colour", ("blue", "green")), ["teapot"]),
        (HasAttribute("buttons", (3.0,)), ["mouse"]),
        (HasAttribute("weight", (3,)), []),
        (UpdatedAfter(NOON), []),
        (UpdatedAfter(NOON - timedelta(microseconds=1)), ["kettle", "keyboard", "mouse", "teapot"]),
        (Not(PriceBetween(0, 1000)), ["lamp"]),
        (And((InCategory(("Home",)), Not(OfBrand(("Brew",))))), ["lamp"]),
        (Or((OfBrand(("Type",)), HasAttribute("colour", ("blue",)))), ["keyboard", "mouse", "teapot"]),
        (And(()), ITEM_IDS),
        (Or(()), []),
    ],
)
def test_a_filter_finds_what_fulfils_it(condition: Filter, item_ids: list[str]) -> None:
    assert matches(condition) == item_ids


def naive(condition: Filter, item: dict) -> bool:
    """The same, one item at a time, in the plainest words."""
    match condition:
        case And(filters):
            return all(naive(inner, item) for inner in filters)
        case Or(filters):
            return any(naive(inner, item) for inner in filters)
        case Not(inner):
            return not naive(inner, item)
        case InCategory(paths):
            category = (item["category"] or "").lower()
            return any(category == path.lower() or category.startswith(path.lower() + " > ") for path in paths)
        case OfBrand(brands):
            return (item["brand"] or "").lower() in {brand.lower() for brand in brands}
        case PriceBetween(least, most):
            price = item["price"]
            return price is not None and (least is None or price >= least) and (most is None or price <= most)
        case IsAvailable(available):
            return item["available"] is available
        case HasAttribute(name, values):
            category = (item["attributes"] or {}).get(name, [])
            return bool({comparable(value) for value in values} & {comparable(value) for value in category})
        case UpdatedAfter(moment):
            return item["updated_at"] is not None and item["updated_at"] > moment


MOMENTS = st.sampled_from([NOON + timedelta(hours=hours) for hours in range(4)])
PATHS = st.sampled_from(["A", "A > B", "A > B > C", "A > D", "E"])
BRANDS = st.sampled_from(["x", "Y", "z"])
PRICES = st.integers(0, 5).map(float)
VALUES = st.sampled_from(["red", "blue", 1, 2.0, True])
ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "category": st.none() | PATHS,
            "brand": st.none() | BRANDS,
            "price": st.none() | PRICES,
            "available": st.booleans(),
            "updated_at": st.none() | MOMENTS,
            "attributes": st.none() | st.dictionaries(st.sampled_from(["p", "q"]), st.lists(VALUES, max_size=3)),
        }
    ),
    min_size=1,
    max_size=8,
)
CONDITIONS = st.one_of(
    st.builds(InCategory, st.lists(PATHS, max_size=2).map(tuple)),
    st.builds(OfBrand, st.lists(BRANDS, max_size=2).map(tuple)),
    st.builds(PriceBetween, st.none() | PRICES, st.none() | PRICES),
    st.builds(IsAvailable, st.booleans()),
    st.builds(HasAttribute, st.sampled_from(["p", "q"]), st.lists(VALUES, max_size=3).map(tuple)),
    st.builds(UpdatedAfter, MOMENTS),
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@given(ITEMS, FILTERS)
def test_a_mask_is_what_asking_each_item_would_give(items: list[dict], condition: Filter) -> None:
    import json

    texts = [None if item["attributes"] is None else json.dumps(item["attributes"]) for item in items]
    shop = Properties.of_table(
        pl.DataFrame(
            {
                "title": pl.Series([None] * len(items), dtype=pl.String),
                **{
                    name: pl.Series([item[name] for item in items], dtype=dtype)
                    for name, dtype in {
                        "category": pl.String,
                        "brand": pl.String,
                        "price": pl.Float64,
                        "available": pl.Boolean,
                        "updated_at": pl.Datetime("us", "UTC"),
                    }.items()
                },
                "attributes": pl.Series(texts, dtype=pl.String),
            }
        )
    )
    assert matching(condition, shop).tolist() == [naive(condition, item) for item in items]


def test_a_strict_filter_still_fills_the_list_and_counts_what_matched() -> None:
    recommender = tiny_recommender()
    kitchen = Rules(filter=InCategory(("Home > Kitchen",)))
    (slate,) = recommender.recommend([Query(user_id="ann", count=2, rules=kitchen)])
    assert {item.item_id for item in slate.items} == {"kettle", "teapot"}
    assert slate.n_matched == 2


def test_what_is_hidden_or_unavailable_did_not_match() -> None:
    office = Rules(filter=InCategory(("Office",)))
    available = (True, True, True, False, True)
    (slate,) = tiny_recommender(available).recommend([Query(user_id="ann", rules=office)])
    assert (slate.items, slate.n_matched) == ((), 0)  # ann has the keyboard, and the mouse is sold out


def test_without_a_filter_nothing_is_counted() -> None:
    assert tiny_recommender().recommend([Query(user_id="ann")])[0].n_matched is None


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_brand_is_itself_in_every_unicode_form(form: Literal["NFC", "NFD"]) -> None:
    brands = [normalize("NFC", "Điện Quang"), normalize("NFD", "ĐIỆN QUANG"), "Philips", None, "dien quang"]
    shop = Properties.of_table(catalogue().with_columns(brand=pl.Series(brands)))
    chosen = matching(OfBrand((normalize(form, "điện quang"),)), shop)
    assert chosen.tolist() == [True, True, False, False, False]
