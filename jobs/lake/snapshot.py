"""The shop as it stood at a moment: products, behaviour and texts, read from the lake."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

import polars as pl

from jobs.lake.aliases import AliasMap, scan_by_item
from jobs.lake.lake import Lake
from recsys.errors import DataError
from recsys.interactions import rating_events
from recsys.tables import Aliases, Catalog


@dataclass(frozen=True)
class Shop:
    """items: the catalogue's columns, ascending by item_id; events: user_id, item_id, event_type, timestamp, value of
    what was done with items, reviews among them as ratings; impressions: user_id, item_id, timestamp, position;
    searches: user_id, event_type, timestamp, text; reviews: as in the lake, without those of unknown items.
    `n_unknown_items` counts item ids that were met but are not in the catalogue. aliases: alias, item_id; in the other
    tables they are resolved already."""

    items: pl.DataFrame
    events: pl.DataFrame
    impressions: pl.DataFrame
    searches: pl.DataFrame
    reviews: pl.DataFrame
    n_unknown_items: int
    aliases: pl.DataFrame = field(default_factory=Aliases.create_empty)


def newest_moment(lake: Lake) -> datetime:
    """One second after the newest event or review. Only the times of the newest day of events and month of reviews are
    read. Raises DataError for an empty lake."""
    newest = [
        lake.partitions(table, [max(days)]).select(pl.col("timestamp").max()).collect().item()
        for table in ("events", "reviews")
        if (days := [file.partition for file in lake.files if file.table == table])
    ]
    if not newest:
        raise DataError(f"{lake.root}: no events or reviews yet; run `recsys ingest` first")
    return cast(datetime, max(newest)) + timedelta(seconds=1)


def read_shop(lake: Lake, as_of: datetime) -> Shop:
    """All that happened before `as_of`.

    Where the shop has given a catalogue, its products are the ones that can be recommended; else all items that
    events and reviews mention are. Raises DataError where nothing happened before `as_of`.
    """
    before = pl.col("timestamp") < as_of
    aliases = AliasMap.read(lake)
    events, reviews = (scan_by_item(lake, table, aliases=aliases).filter(before) for table in ("events", "reviews"))
    columns = ("user_id", "item_id", "event_type", "timestamp", "value")
    is_impression = pl.col("event_type") == "impression"
    with_item = events.filter(pl.col("item_id").is_not_null() & ~is_impression)
    done = pl.concat([with_item.select(columns), rating_events(reviews)]).collect()
    if done.is_empty():
        raise DataError(f"{lake.root}: nothing happened before {as_of:%Y-%m-%d %H:%M}; choose a later --as-of")
    mentioned = done["item_id"].unique()
    if lake.n_rows("catalog"):
        items = lake.scan("catalog").collect().sort("item_id")
    else:
        items = _items_without_catalog(mentioned)
    known = items["item_id"]
    return Shop(
        items=items,
        events=done.filter(pl.col("item_id").is_in(known.implode())),
        impressions=events.filter(is_impression & pl.col("item_id").is_in(known.implode()))
        .select("user_id", "item_id", "timestamp", "position")
        .collect(),
        searches=events.filter(pl.col("text").is_not_null())
        .select("user_id", "event_type", "timestamp", "text")
        .collect(),
        reviews=reviews.filter(pl.col("item_id").is_in(known.implode())).collect().sort("review_id"),
        n_unknown_items=int((~mentioned.is_in(known.implode())).sum()),
        aliases=aliases.frame(),
    )


def _items_without_catalog(item_ids: pl.Series) -> pl.DataFrame:
    columns = Catalog.columns()
    empty = [pl.lit(None, dtype=column.dtype).alias(name) for name, column in columns.items() if name != "item_id"]
    return (item_ids.sort().to_frame("item_id").with_columns(empty).with_columns(available=pl.lit(value=True))).select(
        list(columns)
    )
