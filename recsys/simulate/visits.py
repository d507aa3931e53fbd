"""When shoppers come and what for: sessions over the days, each with one or two intents ("legs")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.simulate.clock import DAY, SECOND, micros
from recsys.simulate.shop import Shop
from recsys.simulate.tastes import Floats, Ints, Shoppers, gumbel
from recsys.simulate.vocabulary import Leaf

_SESSIONS_PER_DAY: Final = 6.4 / 60  # of a shopper who is no passer-by, beyond the first
_SECOND_LEG_SHARE: Final = 0.35
_RESUME_SHARE: Final = 0.25  # the leg goes on where the last one stopped
_GOES_WITH_SHARE: Final = 0.17  # the leg looks for what goes with the last one
_SOUGHT_SHARE: Final = 0.75  # legs that look for one attribute
_SEASON_HEIGHT: Final = 0.8
_SALE_DAY_BOOST: Final = 1.7
_WEEKDAY: Final = np.array([1.0, 0.95, 0.95, 1.0, 1.1, 1.3, 1.35])  # Monday first
_HOUR: Final = np.array([2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 11, 13, 12, 10, 10, 11, 13, 16, 20, 22, 19, 12, 6.0])


@dataclass(frozen=True)
class Legs:
    """What shoppers came for, one row a leg, ordered by shopper and time; arrays are (n_legs,)."""

    shopper: Ints  # position in the cohort
    session: Ints  # 0, 1, … of that shopper
    is_second: npt.NDArray[np.bool_]
    started: Ints  # µs, of the session
    leaf: Ints
    sought: Ints  # attribute term, -1 = nothing in particular


def draw_legs(shop: Shop, shoppers: Shoppers, rng: np.random.Generator) -> Legs:
    """Draw all sessions of a cohort in the days of the shop, and the intent of each leg."""
    shopper, session, started = _draw_sessions(shoppers, shop.span, rng)
    n_legs = np.where(~shoppers.passer_by[shopper] & (rng.random(len(shopper)) < _SECOND_LEG_SHARE), 2, 1)
    of_session = np.repeat(np.arange(len(shopper)), n_legs)
    is_second = np.r_[False, of_session[1:] == of_session[:-1]]
    shopper, session, started = shopper[of_session], session[of_session], started[of_session]
    season = _season(shop.leaves, shop.span)[(started - shop.products.start) // DAY]
    leaf, resumed = _draw_leaves(shop.leaves, shoppers, shopper, is_second, season, rng)
    sought = _draw_sought(shop, shoppers, shopper, leaf, rng)
    for row in np.flatnonzero(resumed):  # in order: a chain of resumed legs keeps its first wish
        sought[row] = sought[row - 1]
    return Legs(shopper, session, is_second, started, leaf, sought)


def _draw_sessions(
    shoppers: Shoppers, span: tuple[datetime, datetime], rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Shopper, number and start (µs) of every session, ordered by shopper and time."""
    start, end = micros(span[0]), micros(span[1])
    n_days = (end - start) // DAY
    weekday = (span[0].weekday() + np.arange(n_days)) % 7
    weights = _WEEKDAY[weekday] * np.linspace(0.85, 1.15, n_days)
    weights *= np.where(rng.random(n_days) < 0.05, _SALE_DAY_BOOST, 1.0)
    liveliness = rng.gamma(0.9, 1 / 0.9, size=shoppers.n)
    more = rng.poisson(liveliness * _SESSIONS_PER_DAY * n_days)
    shopper = np.repeat(np.arange(shoppers.n), 1 + np.where(shoppers.passer_by, 0, more))
    day = rng.choice(n_days, size=len(shopper), p=weights / weights.sum())
    hour = rng.choice(24, size=len(shopper), p=_HOUR / _HOUR.sum())
    started = start + day * DAY + ((hour + rng.random(len(shopper))) * 3600 * SECOND).astype(np.int64)
    order = np.lexsort((started, shopper))
    shopper, started = shopper[order], started[order]
    # sessions of one shopper never overlap: one that starts within an hour and a half of the last is left out
    apart = np.r_[True, (shopper[1:] != shopper[:-1]) | (np.diff(started) > 5400 * SECOND)]
    shopper, started = shopper[apart], started[apart]
    session = np.arange(len(shopper)) - np.searchsorted(shopper, shopper)
    return shopper, session, started


def _season(leaves: tuple[Leaf, ...], span: tuple[datetime, datetime]) -> Floats:
    """(n_days, n_leaves) logit added to a leaf's draw by the time of year."""
    n_days = (span[1] - span[0]).days
    day_of_year = np.array([(span[0] + timedelta(days=d)).timetuple().tm_yday for d in range(n_days)])
    peak = np.array([leaf.peak_month for leaf in leaves])
    angle = 2 * np.pi * (day_of_year[:, None] / 365.25 - (peak - 0.5) / 12)
    return np.where(peak > 0, _SEASON_HEIGHT * np.cos(angle), 0.0).astype(np.float32)


def _draw_leaves(
    leaves: tuple[Leaf, ...],
    shoppers: Shoppers,
    shopper: Ints,
    is_second: npt.NDArray[np.bool_],
    season: Floats,
    rng: np.random.Generator,
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Leaf of each leg: what the last leg was about, what goes with it, or a fresh interest."""
    n = len(shopper)
    row_of = {leaf.code: row for row, leaf in enumerate(leaves)}
    follow = [[row_of[code] for code in leaf.goes_with if code in row_of] or [row] for row, leaf in enumerate(leaves)]
    width = max(len(rows) for rows in follow)
    follows = np.array([(rows * width)[:width] for rows in follow])
    fresh = (shoppers.leaf_logits[shopper] + season + gumbel(rng, season.shape)).argmax(axis=1)
    chance, which = rng.random(n), rng.integers(width, size=n)
    nth = np.arange(n) - np.searchsorted(shopper, shopper)
    resumed = (chance < _RESUME_SHARE) & ~is_second & (nth > 0)
    related = ~resumed & (chance < _RESUME_SHARE + _GOES_WITH_SHARE * (1 + is_second)) & (nth > 0)
    leaf = fresh.astype(np.int64)
    for step in range(1, int(nth.max(initial=0)) + 1):
        rows = np.flatnonzero(nth == step)
        last = leaf[rows - 1]
        leaf[rows] = np.where(resumed[rows], last, np.where(related[rows], follows[last, which[rows]], leaf[rows]))
    return leaf, resumed


def _draw_sought(shop: Shop, shoppers: Shoppers, shopper: Ints, leaf: Ints, rng: np.random.Generator) -> Ints:
    """The attribute each leg looks for, drawn by the shopper's taste from those the leaf's products have."""
    sought = np.full(len(shopper), -1, dtype=np.int64)
    for row in range(len(shop.leaves)):
        legs = np.flatnonzero(leaf == row)
        terms = np.unique(shop.products.terms[shop.products.leaf == row])
        terms = terms[terms >= 0]
        if len(legs) and len(terms):
            liking = shoppers.tastes[shopper[legs]] @ shop.space.vectors[terms].T
            sought[legs] = terms[(1.3 * liking + gumbel(rng, liking.shape)).argmax(axis=1)]
    sought[rng.random(len(shopper)) >= _SOUGHT_SHARE] = -1
    return sought
