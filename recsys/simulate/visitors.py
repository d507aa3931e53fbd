"""Shoppers of the sample storefront who live with a recommender: who comes on a day, what they see and do.

Every list that could have been shown on a visit meets the same shopper with the same luck: each product's noise is
drawn before any list is known, so that lists of different origin are compared in pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.simulate.choices import MAX_SHOWN, MIN_SHOWN, POSITION_COST, cart_chance, pay_chance, pull
from recsys.simulate.clock import DAY
from recsys.simulate.tastes import Floats, Ints
from recsys.simulate.truth import Truth
from recsys.simulate.vocabulary import load_vocabulary
from recsys.top_k import top_k

Flags = npt.NDArray[np.bool_]

_STREAM: Final = 2
"""Of the seed's random streams; 0 and 1 draw the shop and its shoppers."""

_ELSEWHERE: Final = 5.0
"""What a visit offers beside a product of the list, as a utility: a product that pleases as much is clicked every
other time. Above the middle of true preference, as nobody clicks half of what they would like to own."""


@dataclass(frozen=True)
class Visits:
    """The visits of one day, one a shopper; luck is (n_visits, n_items)."""

    user_rows: Ints  # (n_visits,)
    started: Ints  # (n_visits,) µs, ascending
    n_places: Ints  # (n_visits,) so many places of a list are looked at
    liking: Floats  # (n_visits, n_items) utility inside the leaf
    appetite: Floats  # (n_visits, n_items) log odds of a click on the first place; -inf for what is bought once
    click_luck: Floats  # logistic
    cart_luck: Floats  # uniform
    pay_luck: Floats  # uniform


@dataclass(frozen=True)
class Choices:
    """What came of the lists; arrays are (n_visits, count), the three latter true where `is_seen` is."""

    rows: Ints  # items, -1 = no further item
    is_seen: Flags
    is_clicked: Flags
    is_carted: Flags
    is_bought: Flags


def draw_visits(truth: Truth, bought: Flags, n_visits: int, start: int, seed: int, number: int) -> Visits:
    """The visits of day `number`, which starts at `start` (µs): shoppers drawn evenly, `n_visits` where there are so
    many. bought: (n_users, n_items); what lasts is not bought a second time.
    """
    rng = np.random.default_rng([seed, _STREAM, number])
    n_visits = min(n_visits, len(truth.user_ids))
    user_rows = rng.choice(len(truth.user_ids), n_visits, replace=False).astype(np.int64)
    started = np.sort(start + (rng.uniform(0.3, 0.95, n_visits) * DAY).astype(np.int64))
    n_places = rng.integers(MIN_SHOWN, MAX_SHOWN + 1, size=n_visits)
    shape = (n_visits, len(truth.item_ids))
    uniform = np.clip(rng.random(shape, dtype=np.float32), 1e-7, 1 - 1e-7)
    liking = truth.user_vectors[user_rows] @ truth.item_vectors.T
    appetite = liking + truth.leaf_logits[user_rows][:, truth.leaf_of_item] - _ELSEWHERE
    return Visits(
        user_rows=user_rows,
        started=started,
        n_places=n_places,
        liking=liking,
        appetite=np.where(bought[user_rows] & lasting(truth), -np.inf, appetite).astype(np.float32),
        click_luck=np.log(uniform / (1 - uniform)),
        cart_luck=rng.random(shape, dtype=np.float32),
        pay_luck=rng.random(shape, dtype=np.float32),
    )


def choose(visits: Visits, rows: Ints) -> Choices:
    """What the shoppers do with these lists. rows: (n_visits, count) items, best first, padded with -1."""
    place = np.arange(rows.shape[1])
    is_seen = (rows >= 0) & (place < visits.n_places[:, None])
    at = np.maximum(rows, 0)

    def of(values: Floats) -> Floats:
        taken: Floats = np.take_along_axis(values, at, axis=1)
        return taken

    is_clicked = is_seen & (of(visits.appetite) - POSITION_COST * place + of(visits.click_luck) > 0)
    pulled = pull(of(visits.liking))
    is_carted = is_clicked & (of(visits.cart_luck) < cart_chance(pulled))
    is_bought = is_carted & (of(visits.pay_luck) < pay_chance(pulled))
    return Choices(rows, is_seen, is_clicked, is_carted, is_bought)


def best_liked(visits: Visits, may_show: Flags, count: int) -> Ints:
    """What one would show who knew every taste: the ceiling. may_show: (n_visits, n_items)."""
    return _best(np.where(may_show, visits.appetite, -np.inf), count)


def most_popular(popularity: Floats, may_show: Flags, count: int) -> Ints:
    """popularity: (n_items,)."""
    return _best(np.where(may_show, popularity, -np.inf), count)


def drawn_evenly(may_show: Flags, count: int, seed: int, number: int) -> Ints:
    """Items at random, other ones each day."""
    chances = np.random.default_rng([seed, _STREAM, number, 1]).random(may_show.shape, dtype=np.float32)
    return _best(np.where(may_show, chances, -np.inf), count)


def lasting(truth: Truth) -> Flags:
    """(n_items,) whether one of it is enough, by the leaf's code in the item's id."""
    used_up = {leaf.code for leaf in load_vocabulary().leaves if leaf.consumable}
    return np.array([item_id.rpartition("-")[0] not in used_up for item_id in truth.item_ids.tolist()])


def _best(scores: Floats, count: int) -> Ints:
    """(n_visits, count) items by score, padded with -1; -inf is never shown."""
    rows = np.full((len(scores), count), -1, dtype=np.int64)
    for visit, of_visit in enumerate(scores):
        best = top_k(of_visit, count)
        rows[visit, : len(best)] = best
    return rows
