"""Purchases without a user id: guests who ordered without an account.

All lines of one order are of one guest, so they count for the products that are bought together and for trends.
"""

from __future__ import annotations

from typing import Final

import polars as pl

PREFIX: Final = "guest:"
"""Of the user ids of guests; a session or an order follows."""


def guest_id(session_id: str) -> str:
    """The user id of the guest of a session."""
    return f"{PREFIX}{session_id}"


def with_guests(events: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The events, purchases and returns without a user id under one of their session, else of their event's id, which
    is that of an order; and how many these are.

    events: event_id, session_id, user_id and event_type, among others.
    """
    is_order = pl.col("event_type").cast(pl.String).is_in(["purchase", "return"])
    is_guest = (pl.col("user_id").is_null() & is_order).fill_null(value=False)
    n_guests = events.select(is_guest.sum()).item()
    if not n_guests:
        return events, 0
    name = pl.lit(PREFIX) + pl.coalesce("session_id", "event_id")
    return events.with_columns(pl.when(is_guest).then(name).otherwise("user_id").alias("user_id")), int(n_guests)
