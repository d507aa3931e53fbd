"""Other ids of items: events and reviews that name an item by one of them are events and reviews of the item.

They are resolved when rows are staged, and again when the lake is read, as an alias may come after the rows that use
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from jobs.lake.lake import TABLES, Lake
from jobs.lake.staging import Staging


def resolve(ids: pl.Series, aliases: pl.DataFrame, catalog_ids: pl.Series) -> pl.Series:
    """Each id, or the item of which it is an alias. aliases: alias, item_id.

    An id that the catalogue has is no alias of another item.
    """
    return AliasMap.of(aliases, catalog_ids).resolve(ids)


@dataclass(frozen=True)
class AliasMap:
    """aliases, item_ids: of each alias its item, one for one; none of the aliases is an id of the catalogue."""

    aliases: pl.Series
    item_ids: pl.Series

    @classmethod
    def of(cls, aliases: pl.DataFrame, catalog_ids: pl.Series) -> AliasMap:
        """aliases: alias, item_id. Those that the catalogue has as items are left out."""
        usable = aliases.filter(~pl.col("alias").is_in(catalog_ids.implode())).sort("alias")
        return cls(usable["alias"], usable["item_id"])

    @classmethod
    def read(cls, lake: Lake, staging: Staging | None = None) -> AliasMap:
        """Of the lake, and of what is staged for it: the last staged item of an alias counts."""
        staged = staging.tables() if staging else []
        if not lake.n_rows("aliases") and "aliases" not in staged:
            return cls.of(pl.DataFrame(schema=TABLES["aliases"].polars_schema()), pl.Series(dtype=pl.String))
        aliases = [lake.scan("aliases").collect()]
        catalog_ids = [lake.scan("catalog").select("item_id").collect()]
        if staging and "aliases" in staged:
            aliases.append(staging.scan("aliases").sort("arrival").select("alias", "item_id").collect())
        if staging and "catalog" in staged:
            catalog_ids.append(staging.scan("catalog").select("item_id").collect())
        last = pl.concat(aliases).unique("alias", keep="last", maintain_order=True)
        return cls.of(last, pl.concat(catalog_ids)["item_id"])

    def __len__(self) -> int:
        return len(self.aliases)

    def resolve(self, ids: pl.Series) -> pl.Series:
        """Each id, or the item of which it is an alias; nulls stay."""
        return ids.replace(self.aliases, self.item_ids) if len(self) else ids

    def resolve_column(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows with their `item_id` resolved."""
        return rows.with_columns(pl.col("item_id").replace(self.aliases, self.item_ids)) if len(self) else rows

    def frame(self) -> pl.DataFrame:
        """alias, item_id, ascending by alias."""
        return pl.DataFrame({"alias": self.aliases, "item_id": self.item_ids})


def scan_by_item(
    lake: Lake, table: str, since: datetime | None = None, aliases: AliasMap | None = None
) -> pl.LazyFrame:
    """The rows of events or reviews as `Lake.scan` gives them, each on the item that it means.

    aliases: of the lake, where they have been read already.
    """
    known = AliasMap.read(lake) if aliases is None else aliases
    return known.resolve_column(lake.scan(table, since))
