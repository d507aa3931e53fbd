from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import config
from recsys.repeats import Repeats, learn_repeats

DAY = datetime(2026, 1, 1, tzinfo=UTC)
ITEM_IDS = pl.Series(["coffee", "kettle"])
AUTO = config.RepeatsSettings()


def events(*rows: tuple[str, str, float], kind: str = "purchase") -> pl.DataFrame:
    """(user, item, day)"""
    return pl.DataFrame(
        [(user, item, kind, DAY + timedelta(days=day)) for user, item, day in rows],
        schema={
            "user_id": pl.String,
            "item_id": pl.String,
            "event_type": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )


COFFEE = events(("u", "coffee", 0), ("u", "coffee", 10), ("u", "coffee", 40), ("v", "coffee", 3), ("v", "kettle", 3))
"""Two of five purchases repeat one before, 10 and 30 days later; one of coffee's two buyers came back."""


def test_a_shop_whose_purchases_repeat_each_other_lets_them_come_back_after_its_shortest_gaps() -> None:
    repeats, _ = learn_repeats(COFFEE, ITEM_IDS, AUTO)
    assert repeats == Repeats(allowed=True, after_days=10.0, share=2 / 5, half_life_days=AUTO.half_life_days)


def test_an_items_own_rate_is_shrunk_to_the_shops() -> None:
    """The shop's rate is 1 of 3 pairs; each item is credited with 20 buyers of that rate beside its own."""
    _, rates = learn_repeats(COFFEE, ITEM_IDS, AUTO)
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates, [(1 + 20 / 3) / 22, (0 + 20 / 3) / 21], rtol=1e-6)


@pytest.mark.parametrize(("mode", "min_share", "allowed"), [
    ("auto", 0.4, True),
    ("auto", 0.41, False),
    ("always", 1.0, True),
    ("never", 0.0, False),
])  # fmt: skip
def test_the_shops_own_purchases_decide_unless_it_is_told(mode: str, min_share: float, allowed: bool) -> None:
    settings = AUTO.model_copy(update={"mode": mode, "min_share": min_share})
    assert learn_repeats(COFFEE, ITEM_IDS, settings)[0].allowed is allowed


def test_the_wait_can_be_set() -> None:
    assert learn_repeats(COFFEE, ITEM_IDS, AUTO.model_copy(update={"after_days": 2.5}))[0].after_days == 2.5


def test_the_wait_leaves_out_the_few_that_come_back_at_once() -> None:
    """Of 41 gaps, 2 are a day long and the others 30: 5 % of them are 2.05."""
    rows = [(f"u{n}", "coffee", day) for n in range(41) for day in (0, 1 if n < 2 else 30)]
    assert learn_repeats(events(*rows), ITEM_IDS, AUTO)[0].after_days == 30.0


def test_a_basket_of_two_and_what_was_only_looked_at_again_are_no_repeats() -> None:
    basket = events(("u", "coffee", 0.1), ("u", "coffee", 0.2), ("v", "coffee", 0))
    looked = events(("u", "coffee", 5), ("u", "coffee", 9), kind="view")
    repeats, rates = learn_repeats(pl.concat([basket, looked]), ITEM_IDS, AUTO)
    assert (repeats.allowed, repeats.share) == (False, 0.0)
    assert rates.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_without_purchases_nothing_comes_back_unless_it_is_told(mode: str) -> None:
    settings = AUTO.model_copy(update={"mode": mode})
    repeats, rates = learn_repeats(events(("u", "coffee", 1), kind="view"), ITEM_IDS, settings)
    assert (repeats.allowed, repeats.share, repeats.after_days) == (mode == "always", 0.0, 0.0)
    assert rates.tolist() == [0.0, 0.0]


def test_what_left_the_catalogue_still_tells_what_kind_of_shop_it_is() -> None:
    repeats, rates = learn_repeats(COFFEE, pl.Series(["kettle"]), AUTO)
    assert repeats.allowed
    assert rates.tolist() == [0.0]


def test_only_what_was_bought_long_enough_ago_may_return() -> None:
    n_bought, age_days = np.array([0, 1, 1, 2]), np.array([99.0, 6.9, 7.0, 8.0])
    repeats = Repeats(allowed=True, after_days=7.0)
    assert repeats.may_return(n_bought, age_days).tolist() == [False, False, True, True]
    assert not Repeats(allowed=False, after_days=7.0).may_return(n_bought, age_days).any()


def test_more_purchases_call_more_and_each_half_life_halves_the_call() -> None:
    strength = Repeats(half_life_days=30.0).strength(np.array([1, 3, 1, 1]), np.array([0.0, 0.0, 30.0, -5.0]))
    assert strength.dtype == np.float32
    np.testing.assert_allclose(strength, np.log(2) * np.array([1.0, 2.0, 0.5, 1.0]), rtol=1e-6)


def test_comes_back_from_its_file(tmp_path) -> None:
    repeats = Repeats(allowed=True, after_days=3.0, share=0.25, half_life_days=45.0)
    repeats.save(tmp_path / "repeats.json")
    assert Repeats.load(tmp_path / "repeats.json") == repeats


@given(st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from(["coffee", "kettle"]), st.integers(0, 5))))
def test_rates_and_shares_are_shares_whatever_was_bought(rows) -> None:
    repeats, rates = learn_repeats(events(*rows), ITEM_IDS, AUTO)
    assert 0 <= repeats.share < 1
    assert ((rates >= 0) & (rates <= 1)).all()
    assert repeats.after_days == 0 if repeats.share == 0 else repeats.after_days >= 1
