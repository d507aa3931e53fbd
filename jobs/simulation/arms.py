"""The lists of each arm on a day's visits, and the figures that follow from them."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from jobs.simulation.days import Figures, World
from jobs.simulation.history import Assortment, History
from recsys.experiments import Z_95
from recsys.metrics import coverage, gini, intra_list_diversity
from recsys.simulate import Truth
from recsys.simulate.clock import micros
from recsys.simulate.tastes import Ints
from recsys.simulate.visitors import Choices, Visits, best_liked, choose, draw_visits, drawn_evenly, most_popular

SYSTEM: Final = "system"
FIRST_RELEASE: Final = "first release"
POPULAR: Final = "popular"
RANDOM: Final = "random"
CEILING: Final = "ceiling"
OTHERS: Final = (FIRST_RELEASE, POPULAR, RANDOM, CEILING)
ARMS: Final = (SYSTEM, *OTHERS)
"""The system, retrained after every day; its first release, never retrained; the items that most shoppers know; random
items; the best possible lists, by the shoppers' true tastes."""


class Others:
    """The arms that need no service, each with a history of its own.

    All start from the same history and get the same visits and random draws; what their shoppers then view and buy
    comes from the arm's own lists, as it does for the system.

    first_release: (n_users, more than a list's) items, as the first release lists them for every shopper.
    """

    def __init__(
        self, truth: Truth, assortment: Assortment, world: World, first_release: Ints, history: History
    ) -> None:
        self._truth = truth
        self._assortment = assortment
        self._world = world
        self._first_release = first_release
        self._histories = dict.fromkeys(OTHERS, history)
        self._n_days = 0

    def day(self, number: int) -> dict[str, Figures]:
        """Figures of each arm on that day. Each call must ask for a later day than the one before."""
        assert number > self._n_days
        by_arm: dict[str, Figures] = {}
        while self._n_days < number:
            self._n_days += 1
            by_arm = {arm: self._simulate(arm, self._n_days) for arm in OTHERS}
        return by_arm

    def _simulate(self, arm: str, number: int) -> Figures:
        history, world = self._histories[arm], self._world
        start = micros(world.begin(number))
        visits = draw_visits(self._truth, history.bought, world.shoppers, start, world.seed, number)
        hidden = history.met | history.rested(world.rest_after)
        may_show = self._assortment.available & ~hidden[visits.user_rows]
        rows = self._lists(arm, visits, may_show, number)
        of_day, choices = figures(visits, rows, self._truth, self._assortment.available)
        self._histories[arm] = history.after(visits, choices)
        return of_day

    def _lists(self, arm: str, visits: Visits, may_show: npt.NDArray[np.bool_], number: int) -> Ints:
        """(n_visits, count). may_show: (n_visits, n_items); like the service, every arm leaves out unavailable items,
        items that the shopper knows, and hidden ones (`World.rest_after`)."""
        count = self._world.count
        if arm == FIRST_RELEASE:
            return _first_allowed(self._first_release[visits.user_rows], may_show, count)
        if arm == POPULAR:
            return most_popular(self._histories[arm].popularity, may_show, count)
        if arm == RANDOM:
            return drawn_evenly(may_show, count, self._world.seed, number)
        return best_liked(visits, may_show, count)


def figures(visits: Visits, rows: Ints, truth: Truth, available: npt.NDArray[np.bool_]) -> tuple[Figures, Choices]:
    """Figures of the lists `rows`, (n_visits, count), and what the shoppers chose from them."""
    choices = choose(visits, rows)
    shown = np.where(choices.is_seen, rows, -1)
    place = np.where(available, np.cumsum(available) - 1, -1)  # among the available items
    sold = np.where(shown >= 0, place[np.maximum(shown, 0)], -1)
    n_sold = int(available.sum())
    n_shown, n_clicks = choices.is_seen.sum(axis=1), choices.is_clicked.sum(axis=1)
    n_bought = choices.is_bought.sum(axis=1)
    click_rate, click_error = ratio(n_clicks, n_shown)
    purchase_rate, purchase_error = ratio(n_bought, np.ones(len(rows)))
    of_day = Figures(
        n_lists=len(rows),
        n_shown=int(n_shown.sum()),
        n_clicks=int(n_clicks.sum()),
        n_carts=int(choices.is_carted.sum()),
        n_purchases=int(n_bought.sum()),
        click_rate=click_rate,
        click_rate_error=click_error,
        purchase_rate=purchase_rate,
        purchase_rate_error=purchase_error,
        coverage=coverage(sold, n_sold),
        diversity=intra_list_diversity(shown, truth.item_vectors),
        exposure_gini=gini(sold, n_sold),
    )
    return of_day, choices


def ratio(parts: npt.NDArray[Any], wholes: npt.NDArray[Any]) -> tuple[float, float]:
    """sum(parts) / sum(wholes), and half of its 95 % interval by the delta method over independent visits."""
    total = float(wholes.sum())
    if total == 0:
        return 0.0, 0.0
    rate = float(parts.sum()) / total
    spread = math.sqrt(float(np.square(parts - rate * wholes).sum())) / total
    return rate, Z_95 * spread


def _first_allowed(rows: Ints, may_show: npt.NDArray[np.bool_], count: int) -> Ints:
    """The first `count` items of each list that may be shown."""
    allowed = (rows >= 0) & np.take_along_axis(may_show, np.maximum(rows, 0), axis=1)
    order = np.argsort(~allowed, axis=1, kind="stable")[:, :count]
    first = np.where(np.take_along_axis(allowed, order, axis=1), np.take_along_axis(rows, order, axis=1), -1)
    return np.pad(first, ((0, 0), (0, count - first.shape[1])), constant_values=-1)
