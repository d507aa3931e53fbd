"""Joined ids: what a guest did under the id of a cookie belongs to the shopper who logged in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from features.live.database import METADATA, LiveDatabase, microseconds
from features.live.event_log import EVENTS

MERGES: Final = sa.Table(
    "user_merges",
    METADATA,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("into_id", sa.Text, nullable=False, index=True),
    sa.Column("at_us", sa.BigInteger, nullable=False),
)
"""`user_id` is another id of the shopper `into_id`, which is no other's."""


class UserMerges:
    """The table of joined ids. Every method raises StoreError where the database fails."""

    def __init__(self, database: LiveDatabase) -> None:
        self.database = database

    def merge(self, user_ids: Collection[str], into_id: str, now: datetime) -> tuple[str, int]:
        """Make these ids others of the shopper `into_id`, and their events in the database that shopper's.

        Returns the shopper's own id, which is another one where `into_id` was joined before, and how many events moved.
        """
        with self.database.write() as connection:
            target = connection.scalar(sa.select(MERGES.c.into_id).where(MERGES.c.user_id == into_id)) or into_id
            others = [user_id for user_id in dict.fromkeys(user_ids) if user_id != target]
            if not others:
                return target, 0
            moved = sa.update(EVENTS).where(EVENTS.c.user_id.in_(others)).values(user_id=target)
            n_events = connection.execute(moved).rowcount
            connection.execute(sa.update(MERGES).where(MERGES.c.into_id.in_(others)).values(into_id=target))
            stored = self.database.insert(MERGES)
            stored = stored.on_conflict_do_update(index_elements=["user_id"], set_={"into_id": stored.excluded.into_id})
            rows = [{"user_id": other, "into_id": target, "at_us": microseconds(now)} for other in others]
            connection.execute(stored, rows)
        return target, n_events

    def all(self) -> Mapping[str, str]:
        """Joined id -> the shopper's; nothing where the database has not been made yet, which this does not do."""
        if not self.database.exists:
            return {}
        with self.database.read() as connection:
            return {row.user_id: row.into_id for row in connection.execute(_ALL)}


_ALL: Final = sa.select(MERGES.c.user_id, MERGES.c.into_id)
