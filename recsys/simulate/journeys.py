"""What happens on a visit: a listing is shown, some products are viewed, some carted, some bought, a few returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.simulate.catalog import Products
from recsys.simulate.choices import MAX_SHOWN, MIN_SHOWN, POSITION_COST, cart_chance, pay_chance, pull
from recsys.simulate.clock import DAY, SECOND
from recsys.simulate.shop import Shop
from recsys.simulate.tastes import Floats, Ints, Shoppers, gumbel
from recsys.simulate.visits import Legs

_MEAN_FURTHER_VIEWS: Final = 2.7
_CROWD_GAIN: Final = 0.5  # shoppers look at what others looked at
_MATCH_GAIN: Final = 1.6
_POPULARITY_GAIN: Final = 1.0
_SHOWN_TASTE_GAIN: Final = 0.6  # sorting and filters: shoppers see more of what they like
_LAUNCH_GAIN: Final = 0.8
_LISTING_CELLS: Final = 4_000_000  # of one score matrix: bounds memory


@dataclass(frozen=True)
class Listings:
    """Products shown in a leg, best position first; arrays are (n_shown,), ordered by leg and position."""

    leg: Ints
    item: Ints
    position: Ints
    liking: Floats  # utility inside the leaf plus the gain of matching what was looked for
    view_rank: Ints  # 0 = viewed first; -1 = not viewed


@dataclass(frozen=True)
class Purchases:
    """What was bought; arrays are (n_purchases,), ordered by time."""

    shopper: Ints  # position in the cohort
    session: Ints
    item: Ints
    bought: Ints  # µs


@dataclass(frozen=True)
class Journeys:
    """Everything that happened in the sessions of a cohort; times in µs."""

    legs: Legs
    listings: Listings
    leg_started: Ints  # (n_legs,)
    leg_ended: Ints  # (n_legs,) when the last product page is left
    shown: Ints  # (n_shown,)
    viewed: Ints  # (n_shown,), only meaningful where view_rank >= 0
    dwell_s: Floats  # (n_shown,)
    in_cart: npt.NDArray[np.bool_]  # (n_shown,)
    purchases: Purchases


def draw_journeys(shop: Shop, shoppers: Shoppers, legs: Legs, rng: np.random.Generator) -> Journeys:
    """Play the legs. In a session everything is causal: listing, then views, carts, and purchases last."""
    listings = _draw_listings(shop.products, shoppers, legs, rng)
    n_shown = len(listings.leg)
    is_view = listings.view_rank >= 0
    pulled = pull(listings.liking)
    dwell_s = (8 + rng.gamma(1.6, 14, n_shown) * np.exp(0.25 * pulled)).astype(np.float32)
    dwell_s = np.minimum(dwell_s, 240)
    leg_started, leg_ended, viewed = _clock(legs, listings, dwell_s)
    shown = leg_started[listings.leg] + 2 * SECOND
    buys = shoppers.buys[legs.shopper[listings.leg]]
    in_cart = is_view & buys & (rng.random(n_shown) < cart_chance(pulled))
    purchases = _draw_purchases(shop, legs, listings, viewed, pulled, in_cart, rng)
    return Journeys(legs, listings, leg_started, leg_ended, shown, viewed, dwell_s, in_cart, purchases)


def _draw_listings(products: Products, shoppers: Shoppers, legs: Legs, rng: np.random.Generator) -> Listings:
    parts: list[tuple[Ints, Ints, Ints, Floats, Ints]] = []
    for leaf in np.unique(legs.leaf):
        items = np.flatnonzero(products.leaf == leaf)
        rows = np.flatnonzero(legs.leaf == leaf)
        step = max(1, _LISTING_CELLS // len(items))
        parts += [
            _list_leaf(products, shoppers, legs, items, rows[at : at + step], rng) for at in range(0, len(rows), step)
        ]
    leg, item, position, liking, view_rank = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((position, leg))
    return Listings(leg[order], item[order], position[order], liking[order], view_rank[order])


def _list_leaf(
    products: Products, shoppers: Shoppers, legs: Legs, items: Ints, rows: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints, Floats, Ints]:
    """Listing and views of the legs `rows`, all in the leaf of `items`."""
    shopper = legs.shopper[rows]
    started = legs.started[rows]
    utility = shoppers.vectors[shopper] @ products.vectors[items].T
    match = (products.terms[items][None] == legs.sought[rows][:, None, None]).any(axis=2)
    match &= (legs.sought[rows] >= 0)[:, None]
    liking = utility + _MATCH_GAIN * match
    appeal = products.log_popularity[items] + _trend(products, items, started)
    exposure = (
        _POPULARITY_GAIN * appeal + _SHOWN_TASTE_GAIN * utility + 2 * _MATCH_GAIN * match + gumbel(rng, utility.shape)
    )
    on_sale = (products.arrived[items] <= started[:, None]) & (started[:, None] < products.sold_out[items])
    exposure = np.where(on_sale, exposure, -np.inf)
    n_best = min(MAX_SHOWN, len(items))
    best = np.argpartition(-exposure, n_best - 1, axis=1)[:, :n_best]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(exposure, best, 1), axis=1), 1)
    position = np.arange(n_best)
    is_shown = position < rng.integers(MIN_SHOWN, MAX_SHOWN + 1, size=len(rows))[:, None]
    is_shown &= np.take_along_axis(on_sale, best, 1)
    best_liking = np.take_along_axis(liking, best, 1)
    best_appeal = np.take_along_axis(appeal, best, 1)
    wish = best_liking + _CROWD_GAIN * best_appeal - POSITION_COST * position + gumbel(rng, best.shape)
    rank = np.argsort(np.argsort(-np.where(is_shown, wish, -np.inf), axis=1), axis=1)
    n_views = np.where(
        shoppers.passer_by[shopper],
        1 + (rng.random(len(rows)) < 0.3),
        1 + rng.poisson(_MEAN_FURTHER_VIEWS, size=len(rows)),
    )
    view_rank = np.where(is_shown & (rank < n_views[:, None]), rank, -1)
    at, column = np.nonzero(is_shown)
    chosen = best[at, column]
    return rows[at], items[chosen], column, best_liking[at, column].astype(np.float32), view_rank[at, column]


def _trend(products: Products, items: Ints, started: Ints) -> Floats:
    """(n_legs, n_items) logit: fashions that come and go, and the push a launch gets."""
    height, middle, width = products.trend[items].T
    day = ((started - products.start) / DAY).astype(np.float32)[:, None]
    age = np.maximum((started[:, None] - products.arrived[items]) / DAY, 0).astype(np.float32)
    fashion = height * np.exp(-0.5 * ((day - middle) / width) ** 2)
    trend: Floats = (fashion + _LAUNCH_GAIN * np.exp(-age / 7)).astype(np.float32)
    return trend


def _clock(legs: Legs, listings: Listings, dwell_s: Floats) -> tuple[Ints, Ints, Ints]:
    """Start and end of each leg and moment of each view: views follow each other, the second leg follows the first."""
    is_view = listings.view_rank >= 0
    order = np.lexsort((listings.view_rank, listings.leg))
    spent = np.where(is_view, dwell_s, 0.0)[order].astype(np.float64)
    total = np.cumsum(spent)
    leg = listings.leg[order]
    before_leg = (total - spent)[np.searchsorted(leg, leg)]
    offset_s = np.empty(len(leg))
    offset_s[order] = total - spent - before_leg
    length_s = np.bincount(listings.leg, np.where(is_view, dwell_s, 0.0), minlength=len(legs.leaf))
    first_length_s = np.r_[0.0, length_s[:-1]]
    leg_started = legs.started + np.where(legs.is_second, (first_length_s + 25) * SECOND, 0).astype(np.int64)
    viewed = leg_started[listings.leg] + ((5 + offset_s) * SECOND).astype(np.int64)
    leg_ended = leg_started + ((5 + length_s) * SECOND).astype(np.int64)
    return leg_started, leg_ended, viewed


def _draw_purchases(
    shop: Shop,
    legs: Legs,
    listings: Listings,
    viewed: Ints,
    pulled: Floats,
    in_cart: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> Purchases:
    """Most carts are paid at the end of the session, some in the shopper's next one; what lasts is bought once."""
    cart = np.flatnonzero(in_cart)
    leg = listings.leg[cart]
    shopper, session, item = legs.shopper[leg], legs.session[leg], listings.item[cart]
    pays = rng.random(len(cart)) < pay_chance(pulled[cart])
    later = ~pays & (rng.random(len(cart)) < 0.35)
    # position of the last leg of each session, by the first leg of the session after it
    key = legs.shopper * (int(legs.session.max(initial=0)) + 2) + legs.session
    mine = key[leg]
    after = np.searchsorted(key, mine, side="right")
    inside = after < len(key)
    following = np.minimum(after, max(len(key) - 1, 0))
    returns = inside & (legs.shopper[following] == shopper)
    ended = np.zeros(len(key), dtype=np.int64)
    is_view = listings.view_rank >= 0
    np.maximum.at(ended, listings.leg[is_view], viewed[is_view])
    checkout = np.maximum(ended[after - 1], viewed[cart]) + 260 * SECOND
    next_visit = legs.started[following] + 1 * SECOND
    bought = np.where(pays, checkout, next_visit) + rng.integers(20 * SECOND, size=len(cart))
    keep = np.flatnonzero((pays | (later & returns)) & (bought < shop.products.sold_out[item]))
    keep = keep[np.argsort(bought[keep], kind="stable")]
    lasts = np.array([not leaf.consumable for leaf in shop.leaves])[shop.products.leaf[item[keep]]]
    pair = shopper[keep] * shop.products.n + item[keep]
    _, first = np.unique(pair, return_index=True)
    is_first = np.zeros(len(keep), dtype=bool)
    is_first[first] = True
    keep = keep[is_first | ~lasts]
    at_session = np.where(pays, session, legs.session[following])
    return Purchases(shopper[keep], at_session[keep], item[keep], bought[keep])
