from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import config
from recsys.new_items import LAST_POSITION, is_slot, learn_trials, promise, with_new_items

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ITEM_IDS = pl.Series(["kettle", "lamp", "mouse"])
WHEN = pl.Datetime("us", "UTC")


def impressions(*rows: tuple[str, str, float, int | None]) -> pl.DataFrame:
    """(user, item, hour, position)"""
    return pl.DataFrame(
        [(user, item, NOON + timedelta(hours=hour), position) for user, item, hour, position in rows],
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": WHEN, "position": pl.Int32},
        orient="row",
    )


def events(*rows: tuple[str, str, str, float]) -> pl.DataFrame:
    """(user, item, type, hour)"""
    return pl.DataFrame(
        [(user, item, kind, NOON + timedelta(hours=hour)) for user, item, kind, hour in rows],
        schema={"user_id": pl.String, "item_id": pl.String, "event_type": pl.String, "timestamp": WHEN},
        orient="row",
    )


def trials(shown: pl.DataFrame, done: pl.DataFrame) -> tuple[list[float], list[float]]:
    expected, successes = learn_trials(shown, done, ITEM_IDS)
    assert (expected.dtype, successes.dtype) == (np.float32, np.float32)
    return expected.round(4).tolist(), successes.tolist()


def test_an_item_is_expected_to_be_clicked_as_others_are_in_its_places() -> None:
    """On the first place one of two is clicked, on the second none of one, on the third one of one."""
    shown = impressions(("u", "kettle", 0, 0), ("v", "lamp", 0, 0), ("u", "lamp", 0, 1), ("v", "kettle", 0, 2))
    done = events(("u", "kettle", "view", 1), ("v", "kettle", "purchase", 2))
    assert trials(shown, done) == ([0.5 + 1.0, 0.5 + 0.0, 0.0], [2.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("done", "succeeds"),
    [
        (("u", "lamp", "click", 24), True),
        (("u", "lamp", "cart", 0), True),
        (("u", "lamp", "view", 24.01), False),  # more than a day later
        (("u", "lamp", "view", -1), False),  # before it was shown
        (("v", "lamp", "view", 1), False),  # somebody else
        (("u", "mouse", "view", 1), False),  # something else
        (("u", "lamp", "rating", 1), False),
        (("u", "lamp", "search", 1), False),
    ],
)
def test_a_showing_succeeds_where_its_shopper_takes_up_the_item_within_a_day(done, succeeds: bool) -> None:
    _, successes = trials(impressions(("u", "lamp", 0, 3)), events(done))
    assert successes == [0.0, float(succeeds), 0.0]


def test_far_down_all_places_are_one_and_an_unknown_place_is_one_of_its_own() -> None:
    shown = impressions(
        ("u", "kettle", 0, LAST_POSITION), ("u", "lamp", 0, LAST_POSITION + 70), ("v", "mouse", 0, None)
    )
    expected, _ = trials(shown, events(("u", "kettle", "view", 1)))
    assert expected == [0.5, 0.5, 0.0]


def test_each_showing_counts_and_a_click_answers_all_of_its_day() -> None:
    shown = impressions(("u", "lamp", 0, 0), ("u", "lamp", 1, 0), ("u", "lamp", 30, 0))
    assert trials(shown, events(("u", "lamp", "click", 2))) == ([0.0, 2.0, 0.0], [0.0, 2.0, 0.0])


def test_without_impressions_nothing_was_tried_and_what_left_the_catalogue_is_left_out() -> None:
    assert trials(impressions(), events(("u", "lamp", "click", 2))) == ([0.0] * 3, [0.0] * 3)
    assert trials(impressions(("u", "gone", 0, 0)), events(("u", "gone", "click", 1))) == ([0.0] * 3, [0.0] * 3)
    assert trials(impressions(("u", "lamp", 0, 0)), events()) == ([0.0] * 3, [0.0] * 3)


SETTINGS = config.NewItemsSettings(exploration=0.5, prior_successes=2.0)


def promises(expected: list[float], successes: list[float], settings: config.NewItemsSettings = SETTINGS) -> np.ndarray:
    return promise(np.array(expected, np.float32), np.array(successes, np.float32), settings)


def test_a_promise_is_the_log_of_the_posterior_mean_plus_some_deviations() -> None:
    values = promises([0.0, 6.0], [0.0, 2.0])
    assert values.dtype == np.float32
    untried = (0 + 2) / (0 + 2) + 0.5 * np.sqrt(0 + 2) / (0 + 2)
    tried = (2 + 2) / (6 + 2) + 0.5 * np.sqrt(2 + 2) / (6 + 2)
    np.testing.assert_allclose(values, np.log([untried, tried]), rtol=1e-6)


def test_an_untried_item_goes_before_one_shown_in_vain_and_after_one_that_did_well() -> None:
    vain, untried, well = promises([5.0, 0.0, 5.0], [0.0, 0.0, 15.0])
    assert vain < untried < well


def test_of_two_that_do_as_usual_the_less_known_goes_first_unless_nothing_is_explored() -> None:
    little, much = promises([1.0, 100.0], [1.0, 100.0])
    assert little > much
    little, much = promises([1.0, 100.0], [1.0, 100.0], config.NewItemsSettings(exploration=0.0))
    assert little == much == 0.0


@pytest.mark.parametrize(
    ("share", "places"), [(0.0, []), (0.1, [9, 19, 29]), (0.25, [3, 7, 11, 15, 19, 23, 27]), (0.3, [3, 6, 9])]
)
def test_kept_places_are_spread_evenly(share: float, places: list[int]) -> None:
    assert [place for place in range(30) if is_slot(place, share)][: max(len(places), 1)] == places


@given(st.integers(0, 300), st.integers(0, 50))
def test_of_the_first_n_places_the_share_is_kept(n: int, percent: int) -> None:
    assert sum(is_slot(place, percent / 100) for place in range(n)) == n * percent // 100


def mixed(ranked: list[int], new: list[int], count: int, share: float) -> list[tuple[int, bool]]:
    return list(with_new_items(np.array(ranked, dtype=np.int64), np.array(new, dtype=np.int64), count, share))


def test_new_items_take_the_kept_places_and_where_they_are_spent_the_ranking_goes_on() -> None:
    assert mixed([0, 1, 2, 3, 4, 5], [8, 9], 6, 0.5) == [
        (0, False),
        (8, True),
        (1, False),
        (9, True),
        (2, False),
        (3, False),
    ]


def test_a_new_item_that_the_ranking_shows_anyway_is_not_shown_again() -> None:
    assert mixed([8, 0, 9, 1], [8, 9], 4, 0.5) == [(8, False), (9, True), (0, False), (1, False)]


def test_a_list_ends_where_there_is_nothing_left() -> None:
    assert mixed([0, 8], [8], 9, 0.5) == [(0, False), (8, True)]
    assert mixed([], [], 9, 0.5) == []
    assert mixed([0, 1], [1], 0, 0.5) == []


@given(
    st.integers(0, 12).flatmap(lambda n: st.tuples(st.permutations(range(n)), st.permutations(range(n)))),
    st.integers(0, 6),
    st.integers(0, 14),
    st.sampled_from([0.0, 0.1, 0.25, 0.5]),
)
def test_a_mixed_list_is_full_free_of_doubles_and_in_both_orders(orders, n_new: int, count: int, share: float) -> None:
    ranked, by_promise = orders
    new = by_promise[:n_new]
    listed = mixed(ranked[:count], new[:count], count, share)
    rows = [row for row, _ in listed]
    assert len(rows) == len(set(rows)) == min(count, len(ranked))
    assert all(row in new and is_slot(place, share) for place, (row, is_reserved) in enumerate(listed) if is_reserved)
    for is_reserved, order in ((False, ranked), (True, new)):
        places = [order.index(row) for row, is_kept in listed if is_kept == is_reserved]
        assert places == sorted(places)
    for place, (_, is_reserved) in enumerate(
        listed
    ):  # a place that is kept goes to the common ranking for want of new items
        if is_slot(place, share) and not is_reserved:
            assert set(new) <= set(rows[:place])
