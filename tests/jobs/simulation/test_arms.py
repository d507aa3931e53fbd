from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from jobs.simulation.arms import CEILING, FIRST_RELEASE, OTHERS, POPULAR, RANDOM, Others, figures, ratio
from jobs.simulation.days import World
from jobs.simulation.history import Assortment, History
from recsys.simulate import Truth
from recsys.simulate.visitors import Visits, choose

N_ITEMS = 5
WORLD = World(datetime(2025, 6, 1, tzinfo=UTC), seed=0, shoppers=2, count=3, rest_after=0)


@pytest.fixture
def truth() -> Truth:
    """Two shoppers, five products, the first two similar."""
    return Truth(
        user_ids=np.array(["ann", "bob"]),
        item_ids=np.array([f"desk-{n}" for n in range(N_ITEMS)]),
        user_vectors=np.zeros((2, 3), np.float32),
        leaf_logits=np.zeros((2, 1), np.float32),
        item_vectors=np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]], np.float32),
        leaf_of_item=np.zeros(N_ITEMS, np.int64),
        quality=np.zeros(N_ITEMS, np.float32),
        arrived=np.zeros(N_ITEMS, np.int64),
        is_new=np.zeros(N_ITEMS, bool),
    )


@pytest.fixture
def visits() -> Visits:
    """Both view two places; both click and buy product 0, and no other product."""
    appetite = np.full((2, N_ITEMS), -50, np.float32)
    appetite[:, 0] = 50
    return Visits(
        user_rows=np.array([0, 1]),
        started=np.array([0, 1]),
        n_places=np.array([2, 2]),
        liking=np.zeros((2, N_ITEMS), np.float32),
        appetite=appetite,
        click_luck=np.zeros((2, N_ITEMS), np.float32),
        cart_luck=np.zeros((2, N_ITEMS), np.float32),
        pay_luck=np.zeros((2, N_ITEMS), np.float32),
    )


def test_figures_by_hand(truth: Truth, visits: Visits) -> None:
    rows = np.array([[0, 1, 2], [1, 2, 0]])  # bob would have to look at a third place
    of_day, choices = figures(visits, rows, truth, np.array([True, True, True, True, False]))
    assert (of_day.n_lists, of_day.n_shown, of_day.n_clicks, of_day.n_carts, of_day.n_purchases) == (2, 4, 1, 1, 1)
    assert of_day.click_rate == 0.25
    assert of_day.purchase_rate == 0.5
    assert of_day.coverage == 0.75  # three of four that can be bought
    assert of_day.diversity == pytest.approx(0.5)  # ann sees two alike, bob two unlike
    assert of_day.exposure_gini == pytest.approx((0 * -3 + 1 * -1 + 1 * 1 + 2 * 3) / (4 * 4))
    assert choices.is_clicked.tolist() == [[True, False, False], [False, False, False]]


def test_exposure_is_even_where_each_product_is_seen_once(truth: Truth, visits: Visits) -> None:
    of_day, _ = figures(visits, np.array([[0, 1], [2, 3]]), truth, np.array([True, True, True, True, False]))
    assert (of_day.coverage, of_day.exposure_gini) == (1.0, 0.0)


ALL = Assortment(np.ones(N_ITEMS, bool), np.ones(N_ITEMS))


def morning(**changed: np.ndarray) -> History:
    """An empty history, except for the given parts."""
    met = changed.get("met", np.zeros((2, N_ITEMS), bool))
    looks = changed.get("n_looks", np.zeros((2, N_ITEMS), np.int32))
    return History(met, np.zeros((2, N_ITEMS), bool), looks, changed.get("popularity", np.zeros(N_ITEMS, np.float32)))


def shown_by(arm: str, others: Others, visits: Visits, may_show: np.ndarray) -> list[list[int]]:
    rows: list[list[int]] = others._lists(arm, visits, may_show, 1).tolist()
    return rows


def test_arms_show_only_what_may_be_shown(truth: Truth, visits: Visits) -> None:
    popularity = np.array([9, 1, 5, 7, 8], np.float32)
    first_release = np.array([[0, 4, 2, 1, -1], [3, 0, -1, -1, -1]])
    others = Others(truth, ALL, WORLD, first_release, morning(popularity=popularity))
    may_show = np.ones((2, N_ITEMS), bool)
    may_show[:, 4] = may_show[0, 0] = False
    assert shown_by(FIRST_RELEASE, others, visits, may_show) == [[2, 1, -1], [3, 0, -1]]
    assert shown_by(POPULAR, others, visits, may_show) == [[3, 2, 1], [0, 3, 2]]
    assert shown_by(CEILING, others, visits, may_show)[1][0] == 0
    assert sorted(shown_by(RANDOM, others, visits, may_show)[0]) == [1, 2, 3]


def test_what_was_looked_at_in_vain_often_enough_rests() -> None:
    met = np.zeros((2, N_ITEMS), bool)
    met[1, 1] = True
    looks = np.zeros((2, N_ITEMS), np.int32)
    looks[0, 0], looks[0, 1], looks[1, 1] = 2, 1, 9
    history = morning(met=met, n_looks=looks)
    assert history.rested(2).tolist() == [[True, False, False, False, False], [False] * 5]
    assert not history.rested(0).any()


def test_an_arm_remembers_what_came_of_its_own_lists(visits: Visits) -> None:
    rows = np.array([[0, 1, 2], [3, 2, -1]])
    life = morning().after(visits, choose(visits, rows)).after(visits, choose(visits, rows))
    assert np.argwhere(life.met).tolist() == np.argwhere(life.bought).tolist() == [[0, 0]]
    assert life.n_looks.tolist() == [[2, 2, 0, 0, 0], [0, 0, 2, 2, 0]]
    assert life.popularity.tolist() == [1, 0, 0, 0, 0]


def test_lives_are_the_same_whether_a_day_is_asked_for_or_passed_over(truth: Truth) -> None:
    first_release = np.array([[0, 1, 2, 3, 4]] * 2)

    def others() -> Others:
        return Others(truth, ALL, replace(WORLD, rest_after=1), first_release, morning())

    step_by_step = others()
    days = [step_by_step.day(number) for number in (1, 2, 3)]
    assert others().day(3) == days[2]
    # Both look at three of five products each day; none is looked at twice.
    assert [day[CEILING].n_shown for day in days] == [6, 4, 0]
    assert set(days[0]) == set(OTHERS)


def test_a_short_list_of_the_first_release_is_padded(truth: Truth, visits: Visits) -> None:
    others = Others(truth, ALL, WORLD, np.array([[2], [3]]), morning())
    assert shown_by(FIRST_RELEASE, others, visits, np.ones((2, N_ITEMS), bool)) == [[2, -1, -1], [3, -1, -1]]


def test_a_ratio_of_equal_visits_is_certain_and_one_of_nothing_is_zero() -> None:
    assert ratio(np.array([1, 2]), np.array([10, 20])) == (0.1, 0.0)
    assert ratio(np.array([0]), np.array([0])) == (0.0, 0.0)
    rate, error = ratio(np.array([0, 1] * 50), np.ones(100))
    assert rate == 0.5
    assert error == pytest.approx(1.96 * 0.05, rel=1e-3)
