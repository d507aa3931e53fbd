"""What each arm would show on a day's visits, and what comes of it: the figures of the day."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from jobs.simulation.days import World
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
"""The system as it learns; its first release, which never learns again; the items most shoppers have met; items at
random; what one would show who knew every taste."""


@dataclass(frozen=True)
class Figures:
    """One arm on one day. click_rate: clicks by items looked at; purchase_rate: purchases by lists; *_error: half the
    width of the 95 % interval over visits; coverage, exposure_gini: of the items that can be bought; diversity: 1 - the
    mean cosine of two items' true vectors, of the items of a list that were looked at."""

    n_lists: int
    n_shown: int
    n_clicks: int
    n_carts: int
    n_purchases: int
    click_rate: float
    click_rate_error: float
    purchase_rate: float
    purchase_rate_error: float
    coverage: float
    diversity: float
    exposure_gini: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Others:
    """The arms that need no service. Each lives a life of its own from the same first morning, with the same visits and
    the same luck: what its shoppers have met, bought and looked at comes from its own lists, as it does for the system.

    first_release: (n_users, more than a list's) items, as that release lists them for every shopper.
    """

    def __init__(
        self, truth: Truth, assortment: Assortment, world: World, first_release: Ints, first_morning: History
    ) -> None:
        self._truth = truth
        self._assortment = assortment
        self._world = world
        self._first_release = first_release
        self._lives = dict.fromkeys(OTHERS, first_morning)
        self._n_lived = 0

    def day(self, number: int) -> dict[str, Figures]:
        """What came of each arm's lists on that day, which is none of those that were asked for before."""
        assert number > self._n_lived
        lived: dict[str, Figures] = {}
        while self._n_lived < number:
            self._n_lived += 1
            lived = {arm: self._live(arm, self._n_lived) for arm in OTHERS}
        return lived

    def _live(self, arm: str, number: int) -> Figures:
        life, world = self._lives[arm], self._world
        start = micros(world.begin(number))
        visits = draw_visits(self._truth, life.bought, world.shoppers, start, world.seed, number)
        left_out = life.met | life.rested(world.rest_after)
        may_show = self._assortment.available & ~left_out[visits.user_rows]
        rows = self._lists(arm, visits, may_show, number)
        told, choices = figures(visits, rows, self._truth, self._assortment.available)
        self._lives[arm] = life.after(visits, choices)
        return told

    def _lists(self, arm: str, visits: Visits, may_show: npt.NDArray[np.bool_], number: int) -> Ints:
        """(n_visits, count). may_show: (n_visits, n_items); as the shop leaves out what cannot be bought, what the
        shopper has met and what rests, so does every arm."""
        count = self._world.count
        if arm == FIRST_RELEASE:
            return _that_may_be_shown(self._first_release[visits.user_rows], may_show, count)
        if arm == POPULAR:
            return most_popular(self._lives[arm].popularity, may_show, count)
        if arm == RANDOM:
            return drawn_evenly(may_show, count, self._world.seed, number)
        return best_liked(visits, may_show, count)


def figures(visits: Visits, rows: Ints, truth: Truth, available: npt.NDArray[np.bool_]) -> tuple[Figures, Choices]:
    """What came of the lists `rows`, (n_visits, count)."""
    choices = choose(visits, rows)
    shown = np.where(choices.is_seen, rows, -1)
    place = np.where(available, np.cumsum(available) - 1, -1)  # among the items that can be bought
    sold = np.where(shown >= 0, place[np.maximum(shown, 0)], -1)
    n_sold = int(available.sum())
    n_shown, n_clicks = choices.is_seen.sum(axis=1), choices.is_clicked.sum(axis=1)
    n_bought = choices.is_bought.sum(axis=1)
    click_rate, click_error = ratio(n_clicks, n_shown)
    purchase_rate, purchase_error = ratio(n_bought, np.ones(len(rows)))
    told = Figures(
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
    return told, choices


def ratio(parts: npt.NDArray[Any], wholes: npt.NDArray[Any]) -> tuple[float, float]:
    """sum(parts) / sum(wholes), and half of its 95 % interval by the delta method; visits are what is independent."""
    total = float(wholes.sum())
    if total == 0:
        return 0.0, 0.0
    rate = float(parts.sum()) / total
    spread = math.sqrt(float(np.square(parts - rate * wholes).sum())) / total
    return rate, Z_95 * spread


def _that_may_be_shown(rows: Ints, may_show: npt.NDArray[np.bool_], count: int) -> Ints:
    """The first `count` of each list that may be shown."""
    allowed = (rows >= 0) & np.take_along_axis(may_show, np.maximum(rows, 0), axis=1)
    order = np.argsort(~allowed, axis=1, kind="stable")[:, :count]
    kept = np.where(np.take_along_axis(allowed, order, axis=1), np.take_along_axis(rows, order, axis=1), -1)
    return np.pad(kept, ((0, 0), (0, count - kept.shape[1])), constant_values=-1)
