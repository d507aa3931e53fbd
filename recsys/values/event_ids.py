"""One event id for several events: the lines of an order under its number, or a counter that was restarted.

Such events are all kept. The first that is stored has the id as it was given; another shopper, item, type or value
makes another event, whose id is the given one with a digest of these, so that the same event has the same id again.
"""

from __future__ import annotations

import hashlib
from typing import Final

import polars as pl

CONTENT: Final = ("user_id", "item_id", "event_type", "value")
"""What two events of one id differ in; not their times, as a request that is sent again may have none of its own."""


def id_of_another(event_id: str, content: tuple[object, ...]) -> str:
    """The id of an event whose given id another event has. content: its values of `CONTENT`."""
    text = "\x1f".join("" if value is None else str(value) for value in content)
    return f"{event_id}#{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def with_distinct_ids(events: pl.DataFrame, scope: list[str]) -> tuple[pl.DataFrame, pl.Series]:
    """The events, the first of each id as it is, others of another content under an id of their own; which are renamed.

    events: the first stored first. scope: the columns within which ids are compared, event_id among them.
    """
    is_shared = events.select(pl.struct(scope).is_duplicated()).to_series()
    renamed = pl.repeat(value=False, n=events.height, dtype=pl.Boolean, eager=True)
    if not is_shared.any():
        return events, renamed
    content = pl.struct(*CONTENT)
    is_other = content.ne_missing(content.first().over(scope))
    rows = events.filter(is_shared).select(is_other.alias("is_other"), "event_id", *CONTENT)
    ids = [
        id_of_another(event_id, tuple(values)) if other else event_id for other, event_id, *values in rows.iter_rows()
    ]
    places = is_shared.arg_true()
    renamed = renamed.scatter(places, rows["is_other"])
    return events.with_columns(events["event_id"].scatter(places, pl.Series(ids, dtype=pl.String))), renamed
