"""Turn what a cohort did into rows of the EVENTS and REVIEWS tables."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.simulate import queries
from recsys.simulate.catalog import Products
from recsys.simulate.clock import SECOND
from recsys.simulate.journeys import Journeys
from recsys.simulate.models import STYLE
from recsys.simulate.reviews import N_CHANCES, Outcomes, write_review
from recsys.simulate.shop import Shop
from recsys.simulate.tastes import Floats, Ints, Shoppers
from recsys.tables import EVENT_TYPES, Events, Reviews

_SEARCH_SHARE: Final = 0.56  # of legs that begin with a search
_PAGE_TEXT_SHARE: Final = 0.1  # of views that carry the page's title
_GUIDE_SHARE: Final = 0.03  # of legs that end on an advice page
_NONE: Final = -1
_ORDER: Final = ("search", "impression", "view", "cart", "purchase", "return")  # at the same moment


def user_id(row: int) -> str:
    """The shop's id of the shopper with this number."""
    return f"u{row:05d}"


def write_events(
    shop: Shop, shoppers: Shoppers, journeys: Journeys, outcomes: Outcomes, rng: np.random.Generator
) -> pl.DataFrame:
    """All events of a cohort before the end, ordered by time. An event's id is the shopper's and its number."""
    products, leaves = shop.products, shop.leaves
    legs, shown, buys = journeys.legs, journeys.listings, journeys.purchases
    searches = np.flatnonzero(rng.random(len(legs.leaf)) < _SEARCH_SHARE)
    chances = queries.draw_chances(len(searches), rng)
    typed = [
        queries.write_query(
            shop.vocabulary, shop.space, shop.brands, leaves[legs.leaf[leg]], int(legs.sought[leg]), chance
        )
        for leg, chance in zip(searches, chances, strict=True)
    ]
    advice = queries.guides(shop.vocabulary, leaves)
    guided = np.flatnonzero(rng.random(len(legs.leaf)) < _GUIDE_SHARE)
    per_leaf = len(advice) // len(leaves)
    guide = legs.leaf[guided] * per_leaf + rng.integers(per_leaf, size=len(guided))
    texts = pl.concat([pl.Series([*typed, *advice], dtype=pl.String), shop.page_texts])
    first_guide, first_page = len(typed), len(typed) + len(advice)
    view = np.flatnonzero(shown.view_rank >= 0)
    cart = np.flatnonzero(journeys.in_cart)
    has_page = rng.random(len(view)) < _PAGE_TEXT_SHARE
    page = np.where(has_page, first_page + shown.item[view], _NONE)
    carted = journeys.viewed[cart] + (journeys.dwell_s[cart] * 0.8 * SECOND).astype(np.int64)
    advised = journeys.leg_ended[guided] + 5 * SECOND
    back = np.flatnonzero(outcomes.returned >= 0)
    leg_of_view, leg_of_cart = shown.leg[view], shown.leg[cart]
    parts = [
        _part("search", legs.shopper[searches], journeys.leg_started[searches], legs.session[searches],
              text=np.arange(len(searches))),
        _part("view", legs.shopper[guided], advised, legs.session[guided], text=first_guide + guide),
        _part("impression", legs.shopper[shown.leg], journeys.shown, legs.session[shown.leg],
              item=shown.item, position=shown.position),
        _part("view", legs.shopper[leg_of_view], journeys.viewed[view], legs.session[leg_of_view],
              item=shown.item[view], text=page, value=_tenths(journeys.dwell_s[view])),
        _part("cart", legs.shopper[leg_of_cart], carted, legs.session[leg_of_cart], item=shown.item[cart]),
        _part("purchase", buys.shopper, buys.bought, buys.session, item=buys.item, value=products.price[buys.item]),
        _part("return", buys.shopper[back], outcomes.returned[back], np.full(len(back), _NONE), item=buys.item[back]),
    ]  # fmt: skip
    rows = pl.concat(parts).filter(pl.col("timestamp") < shop.end)
    rows = rows.with_columns(pl.col("event_type").cast(pl.Enum(_ORDER)).to_physical().alias("order"))
    rows = rows.sort("timestamp", "shopper", "order", "position")
    return _named(rows, shoppers, products, texts)


def write_reviews(
    shop: Shop, shoppers: Shoppers, journeys: Journeys, outcomes: Outcomes, rng: np.random.Generator
) -> pl.DataFrame:
    """The reviews of a cohort, ordered by shopper and purchase."""
    products, leaves, buys = shop.products, shop.leaves, journeys.purchases
    written = np.flatnonzero(outcomes.reviewed >= 0)
    # a shopper writes about a product once, however often they buy it
    pair = buys.shopper[written] * products.n + buys.item[written]
    written = written[np.sort(np.unique(pair, return_index=True)[1])]
    written = written[np.argsort(buys.shopper[written], kind="stable")]
    shopper = buys.shopper[written]
    nth = np.arange(len(written)) - np.searchsorted(shopper, shopper)
    chances = rng.random((len(written), N_CHANCES))
    words = [
        write_review(
            shop.vocabulary,
            leaves[products.leaf[buys.item[row]]],
            shop.space.words[products.terms[buys.item[row], STYLE]],
            outcomes.aspects[row],
            float(outcomes.style[row]),
            int(outcomes.stars[row]),
            chance,
        )
        for row, chance in zip(written, chances, strict=True)
    ]
    users = [user_id(int(shoppers.rows[row])) for row in shopper]
    return pl.DataFrame(
        {
            "review_id": [f"r{user[1:]}-{number:02d}" for user, number in zip(users, nth, strict=True)],
            "user_id": users,
            "item_id": [products.item_ids[row] for row in buys.item[written]],
            "rating": outcomes.stars[written].astype(np.float64),
            "title": [title or None for title, _ in words],
            "text": [text for _, text in words],
            "timestamp": _timestamps(outcomes.reviewed[written]),
        },
        schema=Reviews.create_empty().schema,
    )


def _part(
    event_type: str,
    shopper: Ints,
    time: Ints,
    session: Ints,
    *,
    item: Ints | None = None,
    text: Ints | None = None,
    value: npt.NDArray[np.float64] | None = None,
    position: Ints | None = None,
) -> pl.DataFrame:
    """Rows of one event type; items and texts as positions, -1 = none."""
    none = np.full(len(shopper), _NONE)
    return pl.DataFrame(
        {
            "shopper": shopper,
            "event_type": np.full(len(shopper), _ORDER.index(event_type)),
            "timestamp": time,
            "session": session,
            "item": none if item is None else item,
            "text": none if text is None else text,
            "value": np.full(len(shopper), np.nan) if value is None else value,
            "position": none if position is None else position,
        }
    ).with_columns(pl.col("event_type").replace_strict(dict(enumerate(_ORDER)), return_dtype=pl.Enum(EVENT_TYPES)))


def _named(rows: pl.DataFrame, shoppers: Shoppers, products: Products, texts: pl.Series) -> pl.DataFrame:
    """Rows with ids and texts in place of positions, in the columns of the EVENTS table."""
    users = pl.Series([user_id(int(row)) for row in shoppers.rows], dtype=pl.String)
    number = rows.select(pl.int_range(pl.len()).over("shopper")).to_series().cast(pl.String).str.zfill(4)
    user = users.gather(rows["shopper"])
    session = rows["session"].cast(pl.String).str.zfill(2)
    return pl.DataFrame(
        {
            "event_id": "e" + user.str.slice(1) + "-" + number,
            "user_id": user,
            "item_id": _look_up(pl.Series(products.item_ids, dtype=pl.String), rows["item"]),
            "event_type": rows["event_type"],
            "timestamp": _timestamps(rows["timestamp"].to_numpy()),
            "session_id": ("s" + user.str.slice(1) + "-" + session).set(rows["session"] < 0, None),
            "text": _look_up(texts, rows["text"]),
            "value": rows["value"].fill_nan(None),
            "recommendation_id": pl.Series([None], dtype=pl.String).new_from_index(0, rows.height),
            "position": rows["position"].cast(pl.Int32).set(rows["position"] < 0, None),
        },
        schema=Events.create_empty().schema,
    )


def _tenths(seconds: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(np.round(seconds.astype(np.float64), 1), dtype=np.float64)


def _look_up(values: pl.Series, positions: pl.Series) -> pl.Series:
    return values.gather(positions.set(positions < 0, None))


def _timestamps(micros: Ints | Floats) -> pl.Series:
    return pl.Series(micros, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
