"""Bought items come back into lists where shoppers buy again."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from storefronts import BUYS, DAY, ITEM_IDS, MINUTE, NOON, ids, item_entry, tiny_recommender, users_with

from recsys.batch_scoring import shoppers
from recsys.config import RecommendSettings
from recsys.query import Query, Signal
from recsys.repeats import Repeats


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
    assert "keyboard" not in ids(Query(user_id="ann", asked_at=NOON + 99 * DAY, count=4), users=users, repeats=BUYS)


@pytest.mark.parametrize("event_type", ["purchase", "rating", "return"])
def test_what_the_session_says_is_had_counts_as_bought(event_type: str) -> None:
    query = Query(session=(Signal(event_type, NOON, "mouse"),), asked_at=NOON + DAY)
    unhidden = RecommendSettings(exclude_seen=False)
    assert "mouse" not in ids(query, settings=unhidden)
    assert "mouse" not in ids(query, settings=unhidden, repeats=BUYS)
    later = ids(replace(query, asked_at=NOON + 9 * DAY), settings=unhidden, repeats=BUYS)
    assert ("mouse" in later) == (event_type != "return")  # what was sent back is not wanted again


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


def test_what_was_disliked_or_returned_does_not_come_back_even_where_repeats_are_allowed() -> None:
    shown = ids(Query(user_id="bob", asked_at=NOON + timedelta(days=99)), repeats=Repeats(allowed=True))
    assert "kettle" not in shown
