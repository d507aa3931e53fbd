from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from storefronts import ITEM_IDS, NOON, tiny_recommender

from recsys.config import ComplementsSettings
from recsys.cooccurrence import learn_together
from recsys.errors import QueryError
from recsys.filters import InCategory, OfBrand
from recsys.nonpersonal import complements, popular
from recsys.recommend import Recommender
from recsys.slate import Slate

BASKETS = [("u", "keyboard"), ("u", "mouse"), ("u", "kettle"), ("u", "lamp")] + [
    (user, item_id) for user in "vw" for item_id in ("keyboard", "lamp", "mouse", "kettle")
]


def shop(max_likeness: float = 0.75, **options) -> Recommender:
    """Three shoppers have keyboard, mouse, kettle and lamp; nobody has the teapot."""
    events = pl.DataFrame(BASKETS, schema=["user_id", "item_id"], orient="row")
    events = events.with_columns(event_type=pl.lit("purchase"), timestamp=pl.lit(NOON))
    recommender = tiny_recommender(**options)
    together = learn_together(events, pl.Series(ITEM_IDS), ComplementsSettings())
    recommender.facts = replace(recommender.facts, together=together, max_likeness=max_likeness)
    return recommender


def ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def test_complements_are_bought_with_the_item_and_not_like_it() -> None:
    slate = complements(shop(), ["keyboard"], None, 5)
    assert sorted(ids(slate)) == ["kettle", "lamp"]  # the mouse reads like the keyboard, the teapot nobody bought
    assert {item.source for item in slate.items} == {"complements"}
    assert "mouse" in ids(complements(shop(max_likeness=0.85), ["keyboard"], None, 5))


def test_a_basket_has_the_complements_of_all_its_items_and_none_of_its_own() -> None:
    assert ids(complements(shop(), ["keyboard", "kettle", "gone"], None, 5)) == ["lamp"]


def test_complements_follow_stock_filter_and_exclusion() -> None:
    assert ids(complements(shop(available=(False, True, True, True, True)), ["keyboard"], None, 5)) == ["lamp"]
    assert ids(complements(shop(), ["keyboard"], OfBrand(("brew",)), 5)) == ["kettle"]
    assert ids(complements(shop(), ["keyboard"], None, 5, frozenset({"kettle"}))) == ["lamp"]


def test_an_item_that_nothing_was_bought_with_has_no_complements() -> None:
    assert complements(shop(), ["teapot"], None, 5).items == ()


def test_complements_of_unknown_items_name_near_ids() -> None:
    with pytest.raises(QueryError, match="'keybord' is not in this release; nearest ids: keyboard"):
        complements(shop(), ["keybord"], None, 5)


def test_popular_is_what_sells_lately_or_over_the_years_where_it_is_sold() -> None:
    recommender = shop(trend=np.array([0.9, 0.1, 0.0, 0.2, 0.3], dtype=np.float32))
    assert ids(popular(recommender, None, 2, lately=True)) == ["kettle", "teapot"]
    assert ids(popular(recommender, None, 2, lately=False)) == ["keyboard", "mouse"]


def test_popular_by_category_counts_what_matched_and_leaves_out_what_nobody_bought() -> None:
    slate = popular(shop(available=(True, True, True, True, False)), InCategory(("Home",)), 9, lately=False)
    assert (ids(slate), slate.n_matched) == (["kettle"], 2)  # the lamp matched, and nobody has bought it
