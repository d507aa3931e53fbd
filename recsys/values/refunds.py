"""A purchase of a negative amount is a return, whichever door it comes through."""

from __future__ import annotations

import polars as pl


def refunded(event_type: str, value: float | None) -> tuple[str, float | None]:
    """The event's type and value: a negative purchase becomes a return of the amount."""
    if event_type == "purchase" and value is not None and value < 0:
        return "return", -value
    return event_type, value


def with_refunds(events: pl.DataFrame) -> pl.DataFrame:
    """`refunded` of each row. events: event_type (text or the enumeration of the table) and value, among others."""
    is_refund = (pl.col("event_type").cast(pl.String) == "purchase") & (pl.col("value") < 0)
    kind = pl.lit("return").cast(events.schema["event_type"])
    return events.with_columns(
        pl.when(is_refund).then(kind).otherwise("event_type").alias("event_type"),
        pl.when(is_refund).then(-pl.col("value")).otherwise("value").alias("value"),
    )
