"""The tables of design: what each column means and which rules a row must keep.

Checked where data enters (`jobs/ingest/files.py`) and where a step hands over to the next. Columns marked nullable may
be missing in the source; they are then null. `Schema.filter` names the rule that a bad row broke.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import dataframely as dy
import polars as pl

EVENT_TYPES: Final = ("impression", "view", "click", "cart", "purchase", "rating", "return", "search")

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""No online shop is older: an earlier timestamp is a unit mistake (seconds read as microseconds, say)."""


class Events(dy.Schema):
    """One thing a shopper did. `value` is the stars of a rating, the amount of a purchase, the seconds of a view."""

    event_id = dy.String(min_length=1)
    user_id = dy.String(min_length=1)
    item_id = dy.String(nullable=True, min_length=1)
    event_type = dy.Enum(EVENT_TYPES)
    timestamp = dy.Datetime(time_unit="us", time_zone="UTC", min=EARLIEST)
    session_id = dy.String(nullable=True)
    text = dy.String(nullable=True)
    value = dy.Float64(nullable=True)
    recommendation_id = dy.String(nullable=True)
    position = dy.Int32(nullable=True, min=0)

    @dy.rule()
    def names_an_item_or_a_text(cls) -> pl.Expr:
        return pl.col("item_id").is_not_null() | pl.col("text").is_not_null()

    @dy.rule()
    def search_has_text(cls) -> pl.Expr:
        return (pl.col("event_type") != "search") | pl.col("text").is_not_null()

    @dy.rule()
    def rating_is_1_to_5(cls) -> pl.Expr:
        return (pl.col("event_type") != "rating") | pl.col("value").is_between(1, 5)


class Catalog(dy.Schema):
    """One product. `category` is a path, general to special, joined by ' > '; `attributes` is a JSON object."""

    item_id = dy.String(min_length=1)
    title = dy.String(nullable=True)
    description = dy.String(nullable=True)
    category = dy.String(nullable=True)
    brand = dy.String(nullable=True)
    price = dy.Float64(nullable=True, min=0)
    available = dy.Bool()
    updated_at = dy.Datetime(time_unit="us", time_zone="UTC", min=EARLIEST, nullable=True)
    attributes = dy.String(nullable=True)


class Reviews(dy.Schema):
    """One review: stars, and what the shopper wrote (both title and text may be missing)."""

    review_id = dy.String(min_length=1)
    user_id = dy.String(min_length=1)
    item_id = dy.String(min_length=1)
    rating = dy.Float64(min=1, max=5)
    title = dy.String(nullable=True)
    text = dy.String(nullable=True)
    timestamp = dy.Datetime(time_unit="us", time_zone="UTC", min=EARLIEST)


class Aliases(dy.Schema):
    """Another id of an item: an SKU, the id of a variant, a handle. Events and reviews may name the item by it."""

    alias = dy.String(min_length=1)
    item_id = dy.String(min_length=1)


class Interactions(dy.Schema):
    """All events of one user on one item, weighed: one row a pair, stamped with the newest of them."""

    user_id = dy.String(min_length=1, primary_key=True)
    item_id = dy.String(min_length=1, primary_key=True)
    weight = dy.Float32(min_exclusive=0)
    timestamp = dy.Datetime(time_unit="us", time_zone="UTC")
