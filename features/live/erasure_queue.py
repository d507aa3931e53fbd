"""Shoppers who are to be erased, in the live database: so a request survives, and every replica knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.live.answer_log import ANSWERS, EXPOSURES
from features.live.database import METADATA, LiveDatabase, microseconds, moment
from features.live.event_log import EVENTS
from features.live.item_changes import CHANGES
from features.live.user_merges import MERGES

QUEUE: Final = sa.Table(
    "erasures",
    METADATA,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("requested_at_us", sa.BigInteger, nullable=False),
    sa.Column("n_rows", sa.Integer, nullable=False),
)
"""n_rows: what left the live database at once."""

OF_USERS: Final = (EVENTS, ANSWERS, EXPOSURES, MERGES)
"""Every table with a `user_id` but the queue itself; a test compares them with all that there are."""


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """One shopper who waits. n_rows: rows that left the live database when it was asked for."""

    user_id: str
    request_id: str
    requested_at: datetime
    n_rows: int


class ErasureQueue:
    """The table of requests. Every method raises StoreError where the database fails."""

    def __init__(self, database: LiveDatabase) -> None:
        self.database = database

    def add(self, user_id: str, request_id: str, now: datetime) -> ErasureRequest:
        """Queue the shopper, and delete their rows in the same transaction: no list reads them from then on. A shopper
        who waits already keeps the request that there is."""
        with self.database.write() as connection:
            n_rows = sum(_delete(connection, self.database, user_id).values())
            row = {"user_id": user_id, "request_id": request_id, "requested_at_us": microseconds(now), "n_rows": n_rows}
            stored = self.database.insert(QUEUE).values(row)
            more = {"n_rows": QUEUE.c.n_rows + n_rows}
            connection.execute(stored.on_conflict_do_update(index_elements=["user_id"], set_=more))
            stored_row = connection.execute(sa.select(QUEUE).where(QUEUE.c.user_id == user_id)).one()
        return _request(stored_row)

    def waiting(self) -> list[ErasureRequest]:
        """Who waits, the first first; nobody where the database has not been made yet, which this does not do."""
        if not self.database.exists:
            return []
        with self.database.read() as connection:
            rows = connection.execute(sa.select(QUEUE).order_by(QUEUE.c.requested_at_us, QUEUE.c.user_id)).all()
        return [_request(row) for row in rows]

    def done(self, user_id: str) -> None:
        """Take the shopper off the queue, and the id off the disk."""
        with self.database.write() as connection:
            self.database.delete_unreadably(connection)
            n_gone = connection.execute(sa.delete(QUEUE).where(QUEUE.c.user_id == user_id)).rowcount
        if n_gone:
            self.database.scrub()


def erase_rows(database: LiveDatabase, user_id: str) -> dict[str, int]:
    """Delete everything that the live database holds of the shopper but their place in the queue, for good: rows by
    table. Raises StoreError where that fails."""
    with database.write() as connection:
        counts = _delete(connection, database, user_id)
    database.scrub()
    return counts


def rows_of(database: LiveDatabase, user_id: str) -> int:
    """How many rows the live database has of the shopper, the queue's among them."""
    if not database.exists:
        return 0
    with database.read() as connection:
        counts = [sa.select(sa.func.count()).where(table.c.user_id == user_id) for table in (*OF_USERS, QUEUE)]
        return sum(connection.scalar(count) or 0 for count in counts)


def strings_of_others(database: LiveDatabase) -> Iterator[pl.Series]:
    """Every string column of the live database, when the shopper's rows have left it; the queue of others aside."""
    if not database.exists:
        return
    with database.read() as connection:
        for table in (*OF_USERS, CHANGES):
            for column in table.c:
                if isinstance(column.type, sa.Text):
                    values = connection.scalars(sa.select(column).distinct().where(column.is_not(None)))
                    yield pl.Series(column.name, list(values), dtype=pl.String)


def _delete(connection: Connection, database: LiveDatabase, user_id: str) -> dict[str, int]:
    database.delete_unreadably(connection)
    return {
        table.name: connection.execute(sa.delete(table).where(table.c.user_id == user_id)).rowcount
        for table in OF_USERS
    }


def _request(row: sa.Row[Any]) -> ErasureRequest:
    return ErasureRequest(row.user_id, row.request_id, moment(row.requested_at_us), row.n_rows)
