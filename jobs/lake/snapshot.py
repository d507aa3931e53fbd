"""The shop as it stood at a moment: products, behaviour and texts, read from the lake."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, cast

import polars as pl

from features.workspace.merged_users import read_merged_users
from jobs.lake.aliases import AliasMap, scan_by_item
from jobs.lake.lake import Lake
from recsys.errors import DataError
from recsys.interactions import rating_events
from recsys.tables import Aliases, Catalog

ROBOTS: Final = {"user_id": pl.String, "n_events": pl.Int64}


@dataclass(frozen=True)
class Shop:
    """items: the catalogue's columns, ascending by item_id; events: user_id, item_id, event_type, timestamp, value of
    what was done with items, reviews among them as ratings; impressions: user_id, item_id, timestamp, position;
    searches: user_id, event_type, timestamp, text; reviews: as in the lake, without those of unknown items.
    robots: users whose events are left out, and how many these are.
    `n_unknown_items` counts item ids that were met but are not in the catalogue. aliases: alias, item_id; in the other
    tables they are resolved already."""

    items: pl.DataFrame
    events: pl.DataFrame
    impressions: pl.DataFrame
    searches: pl.DataFrame
    reviews: pl.DataFrame
    n_unknown_items: int
    aliases: pl.DataFrame = field(default_factory=Aliases.create_empty)
    robots: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ROBOTS))


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


def read_shop(lake: Lake, as_of: datetime, robot_events_per_day: int = 0) -> Shop:
    """All that happened before `as_of`, without what robots did.

    robot_events_per_day: see `interactions.robot_events_per_day` of the settings.

    Where the shop has given a catalogue, its products are the ones that can be recommended; else all items that
    events and reviews mention are. Raises DataError where nothing happened before `as_of`.
    """
    before = pl.col("timestamp") < as_of
    aliases, shopper = AliasMap.read(lake), read_merged_users(lake.root).resolve(pl.col("user_id"))
    events, reviews = (
        scan_by_item(lake, table, aliases=aliases).filter(before).with_columns(shopper)
        for table in ("events", "reviews")
    )
    columns = ("user_id", "item_id", "event_type", "timestamp", "value")
    is_impression = pl.col("event_type") == "impression"
    with_item = events.filter(pl.col("item_id").is_not_null() & ~is_impression)
    robots = _robots(events, robot_events_per_day)
    if len(robots):
        events = events.filter(~pl.col("user_id").is_in(robots["user_id"].implode()))
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
        robots=robots,
    )


def _robots(events: pl.LazyFrame, events_per_day: int) -> pl.DataFrame:
    """user_id and n_events of users with more events on one day who never bought anything."""
    if not events_per_day:
        return pl.DataFrame(schema=ROBOTS)
    days = (
        events.filter(pl.col("event_type") != "impression")
        .group_by("user_id", pl.col("timestamp").dt.date())
        .agg(n=pl.len(), bought=(pl.col("event_type") == "purchase").any())
    )
    users = days.group_by("user_id").agg(pl.col("n").max().alias("most"), pl.col("n").sum(), pl.col("bought").any())
    busy = users.filter((pl.col("most") > events_per_day) & ~pl.col("bought"))
    return busy.select("user_id", pl.col("n").cast(pl.Int64).alias("n_events")).sort("user_id").collect()


def _items_without_catalog(item_ids: pl.Series) -> pl.DataFrame:
    columns = Catalog.columns()
    empty = [pl.lit(None, dtype=column.dtype).alias(name) for name, column in columns.items() if name != "item_id"]
    return (item_ids.sort().to_frame("item_id").with_columns(empty).with_columns(available=pl.lit(value=True))).select(
        list(columns)
    )
