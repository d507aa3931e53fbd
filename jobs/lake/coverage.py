"""Whether catalogue, events and reviews of a shop speak of the same items, and what the catalogue knows of these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from jobs.lake.aliases import AliasMap, scan_by_item
from jobs.lake.lake import Lake

N_EXAMPLES: Final = 3


@dataclass(frozen=True)
class Coverage:
    """n_items: of the catalogue, and how many of them have a title, price and category. n_events: those that name an
    item, and how many of these items the catalogue has; n_reviews likewise. unknown_ids: item ids of events and
    reviews that the catalogue does not have, the most frequent first; silent_ids: items of the catalogue that no event
    or review names; at most `N_EXAMPLES` of each."""

    n_items: int
    n_titles: int
    n_prices: int
    n_categories: int
    n_events: int
    n_matched_events: int
    n_reviews: int
    n_matched_reviews: int
    unknown_ids: tuple[str, ...]
    silent_ids: tuple[str, ...]

    @property
    def matched_share(self) -> float:
        """Share of events and reviews whose item is in the catalogue; 1 where there are none."""
        n_rows = self.n_events + self.n_reviews
        return (self.n_matched_events + self.n_matched_reviews) / n_rows if n_rows else 1.0

    @property
    def lowest_share(self) -> float:
        """The lower of the shares of events and of reviews: one file of wrong ids is not hidden by a larger one."""
        return min(_share(self.n_matched_events, self.n_events), _share(self.n_matched_reviews, self.n_reviews))

    def line(self) -> str:
        """The shares in words."""
        of_items = (("title", self.n_titles), ("price", self.n_prices), ("category", self.n_categories))
        parts = [f"{_percent(count, self.n_items)} {name}" for name, count in of_items]
        line = f"catalogue: {self.n_items:,} items, with {', '.join(parts)}"
        counted = (
            ("events", self.n_matched_events, self.n_events),
            ("reviews", self.n_matched_reviews, self.n_reviews),
        )
        matched = [f"{_percent(n_matched, n)} of {n:,} {name}" for name, n_matched, n in counted if n]
        return f"{line}; it has the items of {' and '.join(matched)}" if matched else line

    def examples(self) -> str:
        """Ids of both sides, by which a person sees why they do not match."""
        sides = (("not in the catalogue", self.unknown_ids), ("only in the catalogue", self.silent_ids))
        return "; ".join(f"{name}: {', '.join(ids)}" for name, ids in sides if ids)


def coverage(lake: Lake, before: datetime | None = None) -> Coverage | None:
    """Of the whole lake, or of what happened before a time; None without a catalogue.

    Without a catalogue the items are those that events and reviews mention.
    """
    if not lake.n_rows("catalog"):
        return None
    items = lake.scan("catalog").select("item_id", "title", "price", "category").collect()
    aliases = AliasMap.read(lake)
    named = {table: _named(lake, table, aliases, before, items["item_id"]) for table in ("events", "reviews")}
    both = pl.concat(named.values()).group_by("item_id", "known").agg(pl.col("n").sum())
    unknown = both.filter(~pl.col("known")).sort("n", "item_id", descending=[True, False])
    silent = items.select("item_id").join(both, on="item_id", how="anti").sort("item_id")
    return Coverage(
        n_items=len(items),
        n_titles=items["title"].count(),
        n_prices=items["price"].count(),
        n_categories=items["category"].count(),
        n_events=_sum(named["events"]),
        n_matched_events=_sum(named["events"].filter("known")),
        n_reviews=_sum(named["reviews"]),
        n_matched_reviews=_sum(named["reviews"].filter("known")),
        unknown_ids=tuple(unknown["item_id"].head(N_EXAMPLES)),
        silent_ids=tuple(silent["item_id"].head(N_EXAMPLES)),
    )


def _named(lake: Lake, table: str, aliases: AliasMap, before: datetime | None, catalog_ids: pl.Series) -> pl.DataFrame:
    """item_id, n (rows that name it), known (whether the catalogue has it)."""
    rows = scan_by_item(lake, table, aliases=aliases)
    if before is not None:
        rows = rows.filter(pl.col("timestamp") < before)
    rows = rows.filter(pl.col("item_id").is_not_null()).group_by("item_id").agg(n=pl.len().cast(pl.Int64))
    return rows.with_columns(known=pl.col("item_id").is_in(catalog_ids.implode())).collect()


def _sum(rows: pl.DataFrame) -> int:
    return int(rows["n"].sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _percent(part: int, whole: int) -> str:
    return f"{_share(part, whole):.0%}"
