"""The log of answered lists, so that they can be replayed, and of the experiment arms that shoppers were shown."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final, NamedTuple

import polars as pl
import sqlalchemy as sa
from pydantic import TypeAdapter

from features.live.database import METADATA, PRUNED_AT_ONCE, LiveDatabase, microseconds, moment

ANSWERS: Final = sa.Table(
    "answers",
    METADATA,
    sa.Column("recommendation_id", sa.Text, primary_key=True),
    sa.Column("at_us", sa.BigInteger, nullable=False, index=True),
    sa.Column("user_id", sa.Text, index=True),
    sa.Column("release_id", sa.Text, nullable=False),
    sa.Column("left_out", sa.Text),
    sa.Column("content", sa.Text, nullable=False),
)

LEFT_OUT: Final = sa.Table(
    "left_out",
    METADATA,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("at_us", sa.BigInteger, nullable=False, index=True),
    sa.Column("item_ids", sa.Text, nullable=False),
)
"""The items that were unavailable, a row for each set of them: thousands of ids, which nearly all answers share.
`at_us` is the time of the last answer that refers to the set."""

EXPOSURES: Final = sa.Table(
    "exposures",
    METADATA,
    sa.Column("recommendation_id", sa.Text, primary_key=True),
    sa.Column("at_us", sa.BigInteger, nullable=False, index=True),
    sa.Column("user_id", sa.Text, nullable=False, index=True),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered list. left_out: ids of the items that were unavailable by then; content: JSON of the service."""

    recommendation_id: str
    at: datetime
    user_id: str | None
    release_id: str
    left_out: frozenset[str]
    content: str


@dataclass(frozen=True, slots=True)
class Exposure:
    """A list that a shopper was shown in an arm of an experiment."""

    recommendation_id: str
    at: datetime
    user_id: str
    experiment: str
    arm: str


class AnswerLog:
    """The tables of answers and exposures in a live database. Every method raises StoreError where that fails."""

    def __init__(self, database: LiveDatabase) -> None:
        self.database = database

    def record(self, answers: Sequence[Answer], exposures: Sequence[Exposure]) -> None:
        """Store both in one transaction; one whose id is stored already changes nothing."""
        stored_sets = {answer.left_out: _StoredSet.of(answer.left_out) for answer in answers if answer.left_out}
        rows = [
            {
                "recommendation_id": answer.recommendation_id,
                "at_us": microseconds(answer.at),
                "user_id": answer.user_id,
                "release_id": answer.release_id,
                "left_out": stored_sets[answer.left_out].digest if answer.left_out else None,
                "content": answer.content,
            }
            for answer in answers
        ]
        exposed = [
            {
                "recommendation_id": exposure.recommendation_id,
                "at_us": microseconds(exposure.at),
                "user_id": exposure.user_id,
                "experiment": exposure.experiment,
                "arm": exposure.arm,
            }
            for exposure in exposures
        ]
        with self.database.write() as connection:
            # In one order, so that two replicas do not wait for each other.
            for left_out, stored in sorted(stored_sets.items(), key=itemgetter(1)):
                newest_us = microseconds(max(answer.at for answer in answers if answer.left_out == left_out))
                inserted = self.database.insert(LEFT_OUT).values(
                    digest=stored.digest, at_us=newest_us, item_ids=stored.item_ids
                )
                connection.execute(inserted.on_conflict_do_update(index_elements=["digest"], set_={"at_us": newest_us}))
            if rows:
                connection.execute(self.database.insert(ANSWERS).on_conflict_do_nothing(), rows)
            if exposed:
                connection.execute(self.database.insert(EXPOSURES).on_conflict_do_nothing(), exposed)

    def find(self, recommendation_id: str) -> Answer | None:
        """The answer of that id, None where it is not stored (any more)."""
        both = ANSWERS.outerjoin(LEFT_OUT, ANSWERS.c.left_out == LEFT_OUT.c.digest)
        statement = sa.select(ANSWERS, LEFT_OUT.c.item_ids).select_from(both)
        with self.database.read() as connection:
            row = connection.execute(statement.where(ANSWERS.c.recommendation_id == recommendation_id)).one_or_none()
        if row is None:
            return None
        left_out = _ITEM_IDS.validate_json(row.item_ids) if row.item_ids is not None else frozenset()
        return Answer(row.recommendation_id, moment(row.at_us), row.user_id, row.release_id, left_out, row.content)

    def contents_of(self, user_id: str) -> list[str]:
        """`content` of every stored answer to the shopper."""
        with self.database.read() as connection:
            return list(connection.scalars(sa.select(ANSWERS.c.content).where(ANSWERS.c.user_id == user_id)))

    def exposed(self, experiment: str) -> pl.DataFrame:
        """user_id, arm, first_at (UTC) and n_exposures of everyone who was shown an arm; a row for each of both. Empty
        where the database does not exist yet; it is not created here."""
        statement = (
            sa.select(EXPOSURES.c.user_id, EXPOSURES.c.arm, sa.func.min(EXPOSURES.c.at_us), sa.func.count())
            .where(EXPOSURES.c.experiment == experiment)
            .group_by(EXPOSURES.c.user_id, EXPOSURES.c.arm)
            .order_by(EXPOSURES.c.user_id, EXPOSURES.c.arm)
        )
        rows: Sequence[sa.Row[tuple[str, str, int, int]]] = []
        if self.database.exists:
            with self.database.read() as connection:
                rows = connection.execute(statement).all()
        schema = {"user_id": pl.String, "arm": pl.String, "first_at": pl.Int64, "n_exposures": pl.Int64}
        frame = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
        return frame.with_columns(pl.col("first_at").cast(pl.Datetime("us", "UTC")))

    def prune(self, answers_before: datetime, exposures_before: datetime) -> int:
        """Delete older ones, in several transactions; returns how many there were."""
        return sum(
            self._prune(table, microseconds(before))
            for table, before in (
                (ANSWERS, answers_before),
                (LEFT_OUT, answers_before),
                (EXPOSURES, exposures_before),
            )
        )

    def _prune(self, table: sa.Table, before_us: int) -> int:
        (key,) = table.primary_key.columns
        old = sa.select(key).where(table.c.at_us < before_us).limit(PRUNED_AT_ONCE)
        n_pruned = 0
        while True:
            with self.database.read() as connection:
                keys = list(connection.scalars(old))
            if not keys:  # nobody waits for a transaction that changes nothing
                return n_pruned
            with self.database.write() as connection:
                still_old = sa.delete(table).where(key.in_(keys), table.c.at_us < before_us)
                n_pruned += connection.execute(still_old).rowcount


class _StoredSet(NamedTuple):
    """A set of item ids as `LEFT_OUT` stores it: a JSON list in ascending order, and its SHA-256, hex."""

    digest: str
    item_ids: str

    @classmethod
    def of(cls, item_ids: frozenset[str]) -> _StoredSet:
        content = _SORTED_IDS.dump_json(sorted(item_ids))
        return cls(hashlib.sha256(content).hexdigest(), content.decode())


_ITEM_IDS: Final = TypeAdapter(frozenset[str])
_SORTED_IDS: Final = TypeAdapter(list[str])
