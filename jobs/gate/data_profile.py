"""A few figures of a nightly run's new data, and of each of the days before.

A window is at least a whole day long, since the hours of a day differ; the days before are counted back from its start.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from jobs.lake.aliases import AliasMap, scan_by_item
from jobs.lake.lake import Lake
from recsys.interactions import rating_events
from recsys.tokens import script

DAY: Final = timedelta(days=1)
MAX_TEXTS: Final = 1000
"""At most so many texts of a day are read letter by letter."""


@dataclass(frozen=True)
class Window:
    """The time of new data: [start, end), a day or longer."""

    start: datetime
    end: datetime

    @classmethod
    def since(cls, last: datetime, end: datetime) -> Window:
        """The time since the last run, at least the day before `end`."""
        return cls(min(last, end - DAY), end)

    @property
    def days(self) -> float:
        return (self.end - self.start) / DAY


@dataclass(frozen=True)
class Texts:
    """n_texts and the mean and standard deviation of the logarithm of their length in characters; letters, scripts:
    share of each among the letters of at most `MAX_TEXTS` of them."""

    n_texts: int = 0
    log_length: float = 0.0
    log_length_sd: float = 0.0
    letters: Mapping[str, float] = field(default_factory=dict)
    scripts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """Of the events of a window or of one day, reviews among them as ratings.

    n_events: all of them; n_of_user: those of the user with most; n_with_item, n_unknown_items: those that name an
    item, and an item that is not in the catalogue; n_repeated: events that equal an earlier one in all but their id;
    n_by_type: by event type; log_paid: median logarithm of purchase values, NaN without any; n_paid: purchases with a
    value.
    """

    n_events: int = 0
    n_of_user: int = 0
    n_with_item: int = 0
    n_unknown_items: int = 0
    n_repeated: int = 0
    n_by_type: Mapping[str, int] = field(default_factory=dict)
    n_paid: int = 0
    log_paid: float = math.nan
    searches: Texts = Texts()
    reviews: Texts = Texts()

    @property
    def mix(self) -> dict[str, float]:
        """Share of each event type."""
        return {name: count / max(self.n_events, 1) for name, count in self.n_by_type.items()}


def profiles(
    lake: Lake, window: Window, item_ids: pl.Series | None, n_days: int, robots: Sequence[str] = ()
) -> tuple[Profile, list[Profile]]:
    """The profile of the window, and of each of the `n_days` before it with any event, oldest first.

    item_ids: of the catalogue, None without one; robots: users whose events do not count.
    """
    since = window.start - n_days * DAY
    day = ((pl.col("timestamp") - window.start).dt.total_microseconds() // (86_400 * 1_000_000)).clip(upper_bound=0)
    before = pl.col("timestamp") < window.end
    aliases = AliasMap.read(lake)
    reviews = scan_by_item(lake, "reviews", since, aliases).filter(before)
    done = [scan_by_item(lake, "events", since, aliases).filter(before), rating_events(reviews)]
    all_events = pl.concat(done, how="diagonal").with_columns(day=day)
    events = all_events.filter(~pl.col("user_id").is_in(list(robots))).collect()
    counts = _counts(events, item_ids)
    mixes = _mixes(events)
    searched = _texts(events.filter(pl.col("event_type").cast(pl.String) == "search").select("day", "text"))
    reviewed = _texts(reviews.with_columns(day=day).select("day", "text").collect())
    by_day = {
        int(row.pop("day")): Profile(
            **row, n_by_type=mixes[place], searches=searched.get(place, Texts()), reviews=reviewed.get(place, Texts())
        )
        for place, row in zip(counts["day"].to_list(), counts.iter_rows(named=True), strict=True)
    }
    return by_day.pop(0, Profile()), [by_day[place] for place in sorted(by_day)]


def _counts(events: pl.DataFrame, item_ids: pl.Series | None) -> pl.DataFrame:
    same = ("user_id", "item_id", "event_type", "timestamp", "text", "value", "position")
    known = pl.lit(value=True) if item_ids is None else pl.col("item_id").is_in(item_ids.implode())
    paid = (pl.col("event_type").cast(pl.String) == "purchase") & (pl.col("value") > 0)
    log_paid = pl.col("value").filter(paid).log()
    return (
        events.group_by("day")
        .agg(
            n_events=pl.len().cast(pl.Int64),
            n_of_user=pl.col("user_id").value_counts(sort=True).struct.field("count").first().cast(pl.Int64),
            n_with_item=pl.col("item_id").count().cast(pl.Int64),
            n_unknown_items=(pl.col("item_id").is_not_null() & ~known).sum().cast(pl.Int64),
            n_repeated=(pl.len() - pl.struct(same).hash(seed=0).n_unique()).cast(pl.Int64),
            n_paid=paid.sum().cast(pl.Int64),
            log_paid=log_paid.median().fill_null(math.nan),
        )
        .sort("day")
    )


def _mixes(events: pl.DataFrame) -> dict[int, dict[str, int]]:
    mixes: dict[int, dict[str, int]] = {}
    counted = events.group_by("day", pl.col("event_type").cast(pl.String)).len().sort("day", "event_type")
    for place, name, count in counted.iter_rows():
        mixes.setdefault(place, {})[name] = count
    return mixes


def _texts(rows: pl.DataFrame) -> dict[int, Texts]:
    """By day. rows: day, text."""
    rows = rows.filter(pl.col("text").str.len_chars() > 0)
    log_length = pl.col("text").str.len_chars().log()
    figures = {"n": pl.len(), "mean": log_length.mean(), "sd": log_length.std().fill_null(0.0)}
    lengths = rows.group_by("day").agg(**figures).sort("day")
    read = rows.sort(pl.col("text").hash(seed=0)).group_by("day").agg(pl.col("text").head(MAX_TEXTS))
    spelled = {place: Counter("".join(texts).casefold()) for place, texts in read.iter_rows()}
    return {
        place: Texts(n, mean, sd, *_shares(spelled[place])) for place, n, mean, sd in lengths.sort("day").iter_rows()
    }


def _shares(counted: Counter[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Of each letter, and of each script."""
    letters = {letter: count for letter, count in sorted(counted.items()) if letter.isalpha()}
    total = max(sum(letters.values()), 1)
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[script(letter)] += count
    return (
        {letter: count / total for letter, count in letters.items()},
        {name: count / total for name, count in scripts.items()},
    )


def total_variation(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Half the sum of absolute differences of two distributions, 0 to 1."""
    return 0.5 * float(sum(abs(a.get(name, 0.0) - b.get(name, 0.0)) for name in {*a, *b}))


def mean_shares(shares: list[Mapping[str, float]]) -> dict[str, float]:
    """The mean distribution, with equal weights, so that one busy day does not dominate."""
    names = sorted({name for day_shares in shares for name in day_shares})
    return {name: float(np.mean([day_shares.get(name, 0.0) for day_shares in shares])) for name in names}
