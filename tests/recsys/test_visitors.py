"""Who visits, and what they do with a list."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.simulate import Truth, load_truth, simulate
from recsys.simulate.visitors import (
    Visits,
    best_liked,
    choose,
    draw_visits,
    drawn_evenly,
    lasting,
    most_popular,
)

START = 1_748_736_000_000_000
N = 150


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder = tmp_path_factory.mktemp("storefront")
    simulate(folder, n_products=200, n_shoppers=200, days=5)
    return load_truth(folder)


@pytest.fixture(scope="module")
def visits(truth: Truth) -> Visits:
    return draw_visits(truth, nothing(truth), N, START, 0, 1)


def nothing(truth: Truth) -> np.ndarray:
    return np.zeros((len(truth.user_ids), len(truth.item_ids)), dtype=bool)


def everything(visits: Visits) -> np.ndarray:
    return np.ones(visits.appetite.shape, dtype=bool)


def test_a_day_is_the_same_whenever_it_is_drawn_and_other_days_differ(truth: Truth, visits: Visits) -> None:
    again = draw_visits(truth, nothing(truth), N, START, 0, 1)
    assert (again.user_rows == visits.user_rows).all() and (again.click_luck == visits.click_luck).all()
    assert (draw_visits(truth, nothing(truth), N, START, 0, 2).user_rows != visits.user_rows).any()


def test_a_shopper_comes_once_a_day_and_within_it(truth: Truth) -> None:
    visits = draw_visits(truth, nothing(truth), 10_000, START, 0, 1)
    assert sorted(visits.user_rows) == list(range(200))
    assert (np.diff(visits.started) >= 0).all()
    assert visits.started.min() > START and visits.started.max() < START + 86_400_000_000


def test_clicks_follow_looks_carts_follow_clicks_and_purchases_follow_carts(visits: Visits) -> None:
    choices = choose(visits, best_liked(visits, everything(visits), 20))
    assert choices.is_bought.any()
    assert (choices.is_seen >= choices.is_clicked).all()
    assert (choices.is_clicked >= choices.is_carted).all()
    assert (choices.is_carted >= choices.is_bought).all()
    assert (choices.is_seen.sum(axis=1) == visits.n_places).all()


def test_the_same_product_in_the_same_place_meets_the_same_luck_in_any_list(visits: Visits) -> None:
    first = best_liked(visits, everything(visits), 20)
    other = first.copy()
    other[:, 1:] = drawn_evenly(everything(visits), 20, 0, 1)[:, 1:]
    assert (choose(visits, first).is_clicked[:, 0] == choose(visits, other).is_clicked[:, 0]).all()


def test_places_further_down_are_clicked_less(visits: Visits) -> None:
    best = best_liked(visits, everything(visits), 1)
    n_places = np.full(N, 20)
    visits = Visits(**{**visits.__dict__, "n_places": n_places})

    def clicks_at(place: int) -> int:
        rows = np.full((N, 20), -1)
        rows[:, [place]] = best
        return int(choose(visits, rows).is_clicked.sum())

    assert clicks_at(0) > clicks_at(19) > 0


def test_nothing_is_done_where_a_list_ends(visits: Visits) -> None:
    choices = choose(visits, np.full((N, 20), -1))
    assert not choices.is_seen.any() and not choices.is_clicked.any()


def test_the_ceiling_is_clicked_far_more_than_chance(visits: Visits) -> None:
    ceiling = choose(visits, best_liked(visits, everything(visits), 20))
    random = choose(visits, drawn_evenly(everything(visits), 20, 0, 1))
    assert ceiling.is_clicked.sum() > 5 * random.is_clicked.sum()


def test_lists_hold_what_may_be_shown_and_end_early_where_there_is_no_more(visits: Visits) -> None:
    may_show = np.zeros(visits.appetite.shape, dtype=bool)
    may_show[:, [3, 7]] = True
    popularity = np.arange(may_show.shape[1], dtype=np.float32)
    assert (most_popular(popularity, may_show, 4) == [7, 3, -1, -1]).all()
    for rows in (best_liked(visits, may_show, 4), drawn_evenly(may_show, 4, 0, 1)):
        assert set(rows[:, :2].ravel().tolist()) == {3, 7} and (rows[:, 2:] == -1).all()


def test_what_lasts_is_bought_once_and_what_is_used_up_again(truth: Truth) -> None:
    lasts = lasting(truth)
    assert lasts.any() and not lasts.all()
    visits = draw_visits(truth, ~nothing(truth), N, START, 0, 1)
    assert np.isneginf(visits.appetite[:, lasts]).all()
    assert np.isfinite(visits.appetite[:, ~lasts]).all()
