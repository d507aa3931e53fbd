"""The event log: what shoppers did since the last nightly run, each event once, in the order in which it was stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.live.database import BIG, METADATA, PRUNED_AT_ONCE, LiveDatabase, microseconds, moment
from recsys.tables import EVENT_TYPES
from recsys.values.event_ids import CONTENT, id_of_another

MAX_PARAMETERS: Final = 5_000
"""Values of one statement; SQLite takes 32,766 at most."""

EVENTS: Final = sa.Table(
    "events",
    METADATA,
    sa.Column("seq", BIG, primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("item_id", sa.Text),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("timestamp_us", sa.BigInteger, nullable=False),
    sa.Column("session_id", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("value", sa.Double),
    sa.Column("recommendation_id", sa.Text),
    sa.Column("position", sa.Integer),
    sqlite_autoincrement=True,  # a number is never given twice, not even after events were erased
)

_DONE: Final = sa.text("event_type <> 'impression'")
"""Written out, not bound: the planner uses a partial index only where it sees the same words."""

sa.Index("events_of_user", EVENTS.c.user_id, EVENTS.c.seq, sqlite_where=_DONE, postgresql_where=_DONE)

# The newest events of the shopper are found first, and of these those that the release does not hold: so a read
# costs the same for a shopper of ten events and one of ten thousand.
_NEWEST: Final = (
    sa.select(*(EVENTS.c[name] for name in ("seq", "item_id", "event_type", "timestamp_us", "text", "value")))
    .where(EVENTS.c.user_id == sa.bindparam("user_id"), _DONE)
    .order_by(EVENTS.c.seq.desc())
    .limit(sa.bindparam("limit", type_=sa.Integer))
    .subquery()
)
_RECENT: Final = (
    sa.select(_NEWEST.c.item_id, _NEWEST.c.event_type, _NEWEST.c.timestamp_us, _NEWEST.c.text, _NEWEST.c.value)
    .where(sa.or_(_NEWEST.c.seq > sa.bindparam("seq"), _NEWEST.c.timestamp_us >= sa.bindparam("since_us")))
    .order_by(_NEWEST.c.timestamp_us, _NEWEST.c.seq)
)
_BATCH: Final = (
    sa.select(EVENTS)
    .where(EVENTS.c.seq > sa.bindparam("after"), EVENTS.c.seq <= sa.bindparam("up_to"))
    .order_by(EVENTS.c.seq)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One row of the table Events (`recsys/tables.py`), sound by its rules."""

    event_id: str
    user_id: str
    item_id: str | None
    event_type: str
    timestamp: datetime
    session_id: str | None = None
    text: str | None = None
    value: float | None = None
    recommendation_id: str | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """What a list for the shopper reads of an event."""

    item_id: str | None
    event_type: str
    timestamp: datetime
    text: str | None
    value: float | None


class EventLog:
    """The table of events in a live database. Every method raises StoreError where the database fails."""

    def __init__(self, database: LiveDatabase) -> None:
        self.database = database

    def append(self, events: Sequence[LoggedEvent]) -> dict[int, str]:
        """Store the events in one transaction, on the disk when this returns; one that is stored changes nothing.

        Returns the ids of those events, by place, whose own id another event has (`recsys/values/event_ids.py`).
        """
        if not events:
            return {}
        rows = [
            {
                "event_id": event.event_id,
                "user_id": event.user_id,
                "item_id": event.item_id,
                "event_type": event.event_type,
                "timestamp_us": microseconds(event.timestamp),
                "session_id": event.session_id,
                "text": event.text,
                "value": event.value,
                "recommendation_id": event.recommendation_id,
                "position": event.position,
            }
            for event in events
        ]
        statement = self.database.insert(EVENTS).on_conflict_do_nothing()
        with self.database.write() as connection:
            if connection.execute(statement, rows).rowcount == len(rows):
                return {}
            renamed = _renamed(connection, rows)
            if renamed:
                connection.execute(statement, [rows[place] | {"event_id": name} for place, name in renamed.items()])
        return renamed

    def recent(self, user_id: str, after: int, since: datetime, limit: int) -> list[RecentEvent]:
        """Of the shopper's `limit` last stored events those that a release does not hold, by time.

        after, since: the release holds what was stored up to number `after` and happened before `since`.
        Impressions are left out: they say nothing of what a shopper likes.
        """
        parameters = {"user_id": user_id, "seq": after, "since_us": microseconds(since), "limit": limit}
        rows = self.database.rows(_RECENT, parameters)
        return [RecentEvent(item, kind, moment(at_us), text, value) for item, kind, at_us, text, value in rows]

    def texts_of(self, user_id: str) -> list[str]:
        """What the shopper searched for and read, each text once."""
        statement = sa.select(EVENTS.c.text).distinct().where(EVENTS.c.user_id == user_id, EVENTS.c.text.is_not(None))
        with self.database.read() as connection:
            return list(connection.scalars(statement))

    def remove(self, user_ids: Collection[str]) -> int:
        """Delete every event of these shoppers; how many there were."""
        with self.database.write() as connection:
            self.database.delete_unreadably(connection)
            return connection.execute(sa.delete(EVENTS).where(EVENTS.c.user_id.in_(user_ids))).rowcount

    def prune(self, up_to: int, before: datetime) -> int:
        """Delete the events with numbers up to `up_to` that happened before that moment, in short transactions; how
        many there were."""
        reached = 0

        def step(connection: Connection) -> int:
            nonlocal reached
            old = sa.select(EVENTS.c.seq).where(
                EVENTS.c.seq > reached, EVENTS.c.seq <= up_to, EVENTS.c.timestamp_us < microseconds(before)
            )
            numbers = list(connection.scalars(old.order_by(EVENTS.c.seq).limit(PRUNED_AT_ONCE)))
            if not numbers:
                return 0
            reached = numbers[-1]
            return connection.execute(sa.delete(EVENTS).where(EVENTS.c.seq.in_(numbers))).rowcount

        return self.database.in_steps(step)

    def of_type(self, event_type: str, since: datetime) -> pl.DataFrame:
        """event_id, user_id and timestamp (UTC) of the events of that type from `since` on, in no order."""
        columns = (EVENTS.c.event_id, EVENTS.c.user_id, EVENTS.c.timestamp_us.label("timestamp"))
        statement = sa.select(*columns).where(
            EVENTS.c.event_type == event_type, EVENTS.c.timestamp_us >= microseconds(since)
        )
        with self.database.read() as connection:
            rows = connection.execute(statement).all()
        schema = {"event_id": pl.String, "user_id": pl.String, "timestamp": pl.Int64}
        frame = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
        return frame.with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))

    def newest(self) -> int:
        """The number up to which everything is visible, 0 for an empty log; later events have higher ones."""
        with self.database.settled() as connection:
            return connection.scalar(sa.select(sa.func.max(EVENTS.c.seq))) or 0

    def batch(self, after: int, up_to: int, limit: int) -> tuple[pl.DataFrame, pl.Series]:
        """At most `limit` events with numbers in (after, up_to], with the columns and types of Events; their numbers.

        A type of event that is not known (of a later version, say) is null.
        """
        with self.database.read() as connection:
            rows = connection.execute(_BATCH, {"after": after, "up_to": up_to, "limit": limit}).all()
        schema = {column.name: _POLARS[type(column.type)] for column in EVENTS.columns}
        frame = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
        events = frame.select(
            "event_id",
            "user_id",
            "item_id",
            pl.col("event_type").cast(pl.Enum(EVENT_TYPES), strict=False),
            pl.col("timestamp_us").cast(pl.Datetime("us", "UTC")).alias("timestamp"),
            "session_id",
            "text",
            "value",
            "recommendation_id",
            "position",
        )
        return events, frame["seq"]


def _renamed(connection: Connection, rows: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Ids of their own for the rows whose ids are stored with another content, by place."""
    ids = list({row["event_id"] for row in rows})
    columns = [EVENTS.c[name] for name in ("event_id", *CONTENT)]
    stored: dict[str, tuple[object, ...]] = {}
    for start in range(0, len(ids), MAX_PARAMETERS):
        statement = sa.select(*columns).where(EVENTS.c.event_id.in_(ids[start : start + MAX_PARAMETERS]))
        stored |= {event_id: tuple(content) for event_id, *content in connection.execute(statement)}
    contents = [tuple(row[name] for name in CONTENT) for row in rows]
    return {
        place: id_of_another(row["event_id"], content)
        for place, (row, content) in enumerate(zip(rows, contents, strict=True))
        if content != stored[row["event_id"]]
    }


_POLARS: Final = {
    sa.Text: pl.String(),
    sa.Integer: pl.Int32(),
    sa.BigInteger: pl.Int64(),
    sa.Double: pl.Float64(),
}
