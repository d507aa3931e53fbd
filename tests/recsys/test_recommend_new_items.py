"""Positions of a list that are reserved for new items."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storefronts import ITEM_IDS, ids, slate_of, tiny_model, tiny_recommender

from recsys.config import NewItemsSettings
from recsys.new_items import is_slot
from recsys.query import Query

HALF = NewItemsSettings(share=0.5)
"""Every second place is kept."""


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
