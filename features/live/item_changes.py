"""Changes of products since the last nightly run: prices, stock, new and deleted products; the last state of each.

Each field has the version of its own last change, so that a reader who has taken some versions gets only what has
changed since then: a price that the lake took last week does not come again with a new title.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.live.database import METADATA, PRUNED_AT_ONCE, LiveDatabase, microseconds

FIELDS: Final = ("title", "description", "category", "brand", "price", "available", "attributes")
"""The columns of the catalogue that can be changed; `attributes` is a JSON object as text."""

CHANGES: Final = sa.Table(
    "item_changes",
    METADATA,
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, index=True),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Column("updated_at_us", sa.BigInteger, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("category", sa.Text),
    sa.Column("brand", sa.Text),
    sa.Column("price", sa.Double),
    sa.Column("available", sa.Boolean),
    sa.Column("attributes", sa.Text),
    *(sa.Column(f"{name}_version", sa.BigInteger) for name in FIELDS),
)
"""A field whose version is set and whose value is null was cleared. Rows of earlier versions of the product have no
versions of fields: there each value counts as changed with the row."""

COUNTER: Final = sa.Table(
    "item_counter", METADATA, sa.Column("one", sa.Integer, primary_key=True), sa.Column("version", sa.BigInteger)
)
"""One row: the version of the last change. Writers take it first, so that versions become visible in their order."""

_VERSION: Final = sa.select(COUNTER.c.version)
_UNAVAILABLE: Final = sa.select(CHANGES.c.item_id).where(
    CHANGES.c.version > sa.bindparam("after"),
    sa.func.coalesce(CHANGES.c.available_version, CHANGES.c.version) > sa.bindparam("after"),
    sa.or_(CHANGES.c.deleted, CHANGES.c.available.is_(sa.false())),
)


@dataclass(frozen=True)
class ItemChange:
    """A change of one item: `fields` has the new values of some of `FIELDS`, None to clear one, the others stay; or the
    item is deleted."""

    item_id: str
    fields: Mapping[str, Any]
    deleted: bool = False


class ItemChanges:
    """The table of item changes in a live database. Every method raises StoreError where the database fails."""

    def __init__(self, database: LiveDatabase) -> None:
        self.database = database

    def put(self, changes: Sequence[ItemChange], now: datetime) -> int:
        """Store the changes in one transaction, on the disk when this returns; the version that they have.

        Of several changes of an item each adds to the one before.
        """
        with self.database.write() as connection:
            counted = self.database.insert(COUNTER).values(one=1, version=1)
            counted = counted.on_conflict_do_update(index_elements=["one"], set_={"version": COUNTER.c.version + 1})
            version: int = connection.execute(counted.returning(COUNTER.c.version)).scalar_one()
            common = {"version": version, "updated_at_us": microseconds(now)}
            for names, rows in _by_columns(changes).items():
                stored = self.database.insert(CHANGES)
                versions = {f"{name}_version": version for name in names if name in FIELDS}
                new = {name: stored.excluded[name] for name in (*names, *common, *versions)}
                stored = stored.on_conflict_do_update(index_elements=["item_id"], set_=new)
                connection.execute(stored, [row | common | versions for row in rows])
        return version

    def version(self) -> int:
        """Of the last change, 0 where there was none."""
        rows: list[tuple[int]] = self.database.rows(_VERSION)
        return rows[0][0] if rows else 0

    def unavailable_ids(self, after: int) -> frozenset[str]:
        """Ids of the items that were deleted or became unavailable in later versions than `after`."""
        with self.database.read() as connection:
            return frozenset(connection.scalars(_UNAVAILABLE, {"after": after}))

    def prune(self, up_to: int, before: datetime) -> int:
        """Delete the changes with versions up to `up_to` from before that moment, in short transactions; how many there
        were. The counter of versions goes on."""
        old = sa.select(CHANGES.c.item_id).where(
            CHANGES.c.version <= up_to, CHANGES.c.updated_at_us < microseconds(before)
        )

        def step(connection: Connection) -> int:
            item_ids = list(connection.scalars(old.limit(PRUNED_AT_ONCE)))
            # The conditions again: in PostgreSQL a change may come between the two statements.
            still_old = sa.delete(CHANGES).where(CHANGES.c.item_id.in_(item_ids), CHANGES.c.version <= up_to)
            return connection.execute(still_old).rowcount if item_ids else 0

        return self.database.in_steps(step)

    def after(self, version: int, up_to: int | None = None) -> pl.DataFrame:
        """What changed after `version`, and by version `up_to`: item_id, version, deleted, updated_at, `FIELDS` (null:
        stays as it is, or was cleared), and `cleared`, the names of the fields that were cleared."""
        statement = sa.select(CHANGES).where(CHANGES.c.version > version).order_by(CHANGES.c.version, CHANGES.c.item_id)
        with self.database.read() as connection:
            rows = connection.execute(statement).all()
        frame = pl.DataFrame([tuple(row) for row in rows], schema=_SCHEMA, orient="row")
        is_new = {name: _is_between(name, version, up_to) for name in FIELDS}
        cleared = [
            pl.when(is_new[name] & pl.col(f"{name}_version").is_not_null() & pl.col(name).is_null()).then(pl.lit(name))
            for name in FIELDS
        ]
        return frame.filter(pl.any_horizontal(is_new.values())).select(
            *("item_id", "version", "deleted"),
            pl.col("updated_at_us").cast(pl.Datetime("us", "UTC")).alias("updated_at"),
            *(pl.when(is_new[name]).then(pl.col(name)).alias(name) for name in FIELDS),
            pl.concat_list(cleared).list.drop_nulls().alias("cleared"),
        )


def with_changes(items: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """The items, in their order, with the fields of the changes. changed: as `ItemChanges.after` returns them."""
    names = [name for name in FIELDS if name in items.columns]
    both = items.join(
        changed.select("item_id", "cleared", *(pl.col(name).alias(f"{name}_new") for name in names)),
        on="item_id",
        how="left",
        maintain_order="left",
    )
    is_cleared = {name: pl.col("cleared").list.contains(name).fill_null(value=False) for name in names}
    return both.with_columns(
        pl.when(~is_cleared[name]).then(pl.coalesce(f"{name}_new", name)).alias(name) for name in names
    ).select(items.columns)


def _is_between(name: str, version: int, up_to: int | None) -> pl.Expr:
    """Whether the field was changed after `version`, and by `up_to`."""
    changed_at = pl.coalesce(f"{name}_version", pl.when(pl.col(name).is_not_null()).then("version"))
    is_new = (changed_at > version).fill_null(value=False)
    return is_new if up_to is None else is_new & (changed_at <= up_to)


def _by_columns(changes: Sequence[ItemChange]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """One row for each item, those with the same columns together: they are sent to the database as one statement."""
    rows: dict[str, dict[str, Any]] = {}
    for change in changes:
        row = rows.setdefault(change.item_id, {"item_id": change.item_id})
        row |= {**change.fields, "deleted": change.deleted}
    together: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows.values():
        together.setdefault(tuple(sorted(row.keys() - {"item_id"})), []).append(row)
    return together


_POLARS: Final = {sa.Text: pl.String, sa.BigInteger: pl.Int64, sa.Double: pl.Float64, sa.Boolean: pl.Boolean}
_SCHEMA: Final = {column.name: _POLARS[type(column.type)] for column in CHANGES.columns}
