"""Splits by time: what was known before a moment, and what came after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import polars as pl

from recsys import config
from recsys.errors import DataError

Protocol = Literal["leave-one-out", "temporal"]

LEAST_ITEMS: Final = 3
"""Leave-one-out asks users of so many items: one to learn from, one to tune on, one to test on."""

TEST_SHARE: Final = 0.1
"""Part of all interactions that lies after the temporal protocol's moment."""

VISIT: Final = timedelta(minutes=30)
"""What a shopper did so long before a choice is known when the list is asked for."""

PAGE: Final = timedelta(seconds=2)
"""A page's text and the event of its item may be logged so far apart."""

TARGET_TYPES = ("purchase", "cart", "rating")
"""What a recommendation is meant to lead to; a shop that has none of them is judged by views and clicks."""


def target_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """user_id, item_id, timestamp of the events that count as success in this shop, oldest first.

    Purchases, carts and ratings of 4 stars or more; where a shop has none of these, views and clicks.
    """
    kind = pl.col("event_type").cast(pl.String)
    liked = pl.col("value").is_null() | (kind != "rating") | (pl.col("value") >= 4)
    items = events.filter(pl.col("item_id").is_not_null())
    targets = items.filter(kind.is_in(TARGET_TYPES) & liked)
    if targets.limit(1).collect().is_empty():
        targets = items.filter(kind.is_in(["view", "click"]))
    return targets.select("user_id", "item_id", "timestamp").sort("timestamp", "user_id", "item_id")


def temporal_cut(targets: pl.DataFrame, end: datetime, settings: config.EvaluateSettings) -> datetime:
    """The moment from which on targets are held out: `settings.days` before `end`, or earlier in a quiet shop.

    The window doubles until it holds `min_users` users, but never takes more than `max_share` of the targets; where
    even the first window is above that share, it starts at the moment that leaves exactly the share.
    """
    times = targets.filter(pl.col("timestamp") < end)["timestamp"].sort()
    if times.is_empty():
        return end
    earliest: datetime = times[int(len(times) * (1 - settings.max_share))]
    days = settings.days
    while True:
        cut = end - timedelta(days=days)
        if cut <= earliest:
            return earliest
        held_out = targets.filter(pl.col("timestamp").is_between(cut, end, closed="left"))
        if held_out["user_id"].n_unique() >= settings.min_users:
            return cut
        days *= 2


def new_items(
    targets: pl.DataFrame,
    events: pl.DataFrame,
    item_ids: pl.Series,
    start: datetime,
    end: datetime,
    repeats: bool = False,
) -> pl.DataFrame:
    """user_id, item_id, timestamp: the targets in [start, end) that are in `item_ids`, each pair once, by user and
    time.

    events: user_id, item_id, timestamp of all that users did with items. What a user had dealt with before `start` is
    no discovery and is left out, as the service leaves out what was seen; a pair stands at its first event from then
    on, as who looks at an item and buys it an hour later had found it before. With `repeats` none is left out, and a
    pair stands at its first success.
    """
    pair = ["user_id", "item_id"]
    in_window = pl.col("timestamp").is_between(start, end, closed="left")
    chosen = targets.filter(in_window & pl.col("item_id").is_in(item_ids.implode()))
    if not repeats:
        before = pl.col("timestamp") < start
        met = events.filter(~before).group_by(pair).agg(pl.col("timestamp").min())
        chosen = chosen.select(pair).join(events.filter(before), on=pair, how="anti").join(met, on=pair)
    return (
        chosen.select(*pair, "timestamp")
        .sort("user_id", "timestamp", "item_id")
        .unique(pair, keep="first", maintain_order=True)
    )


def next_items(new: pl.DataFrame) -> pl.DataFrame:
    """The first of each user's `new_items`."""
    return new.unique("user_id", keep="first", maintain_order=True)


@dataclass(frozen=True)
class HeldOut:
    """What may be learned, and what is asked for afterwards.

    events: the events before the targets, with the columns they came with; targets: user_id, item_id, timestamp, one
    row a user, by user_id; as_of: the moment at which models are made, later than every event; since: the `visits` of
    the targets.
    """

    events: pl.DataFrame
    targets: pl.DataFrame
    as_of: datetime
    since: pl.DataFrame

    @property
    def known(self) -> pl.DataFrame:
        """The events, and what is known besides when the targets are asked for."""
        return pl.concat([self.events, self.since.select(self.events.columns)])


@dataclass(frozen=True)
class Split:
    """Settings are chosen on `validation`, whose events are those of `test` less the validation targets and what
    followed them; models are then fitted again on the events of `test`."""

    validation: HeldOut
    test: HeldOut


def untied(events: pl.DataFrame) -> pl.DataFrame:
    """The events by user and time, those of one user at distinct times: a tie moves by a microsecond.

    Many data sets know only the day. The order within a tie is arbitrary, but the same for equal input, and follows
    neither the ids nor the file: an order by item_id would make every target the largest id of its day. Texts (without
    an item) stand behind the items of their moment: the text of a page gives away whose it is.
    """
    place = pl.int_range(pl.len())
    microseconds = pl.col("timestamp").dt.epoch("us")
    return (
        events.with_columns(tie=pl.struct("user_id", "item_id", pl.col("event_type").cast(pl.String)).hash(seed=0))
        .sort("user_id", "timestamp", pl.col("item_id").is_null(), "tie", "item_id")
        .with_columns(((microseconds - place).cum_max() + place).over("user_id").cast(events.schema["timestamp"]))
        .drop("tie")
    )


def split(events: pl.DataFrame, protocol: Protocol, repeats: bool = False) -> Split:
    """Both protocols, for benchmarks. events: user_id, item_id (null for a mere text), event_type, timestamp, value.

    Every pair of user and item stands at its first event, and can be a target where any of its events counts as
    success (`target_events`); a repeat is no target, as what was seen is not recommended. With `repeats` every success
    is a target, the second of a pair like the first.
    Leave-one-out: each user's last item is the test target, the one before it the validation target; users with
    fewer than `LEAST_ITEMS` only train. Temporal: one moment for everyone, which leaves 1 - `TEST_SHARE` of the
    interactions before it; each user's first item after it is the target, and new users and new items are asked for
    too. What the user searched for and looked at earlier in the same visit is known (`since`), but not with `repeats`:
    the item itself would be among it. Validation does the same before that moment. Impressions are left out: nobody
    chose them.
    Raises DataError where the test or the validation would have no target.
    """
    ordered = untied(events.filter(pl.col("event_type").cast(pl.String) != "impression"))
    if protocol == "temporal":
        test = _after_moment(ordered, repeats)
        return Split(_checked(_after_moment(test.events, repeats), protocol), _checked(test, protocol))
    enough = _choices(ordered, repeats).group_by("user_id").len().filter(pl.col("len") >= LEAST_ITEMS)["user_id"]
    test = _last_of(ordered, enough, repeats)
    return Split(_checked(_last_of(test.events, enough, repeats), protocol), _checked(test, protocol))


def _choices(events: pl.DataFrame, repeats: bool) -> pl.DataFrame:
    """user_id, item_id, timestamp: what each user chose, by user and time; each pair at its first event, or, with
    `repeats`, at every success."""
    if events.is_empty():
        return events.select("user_id", "item_id", "timestamp")
    chosen = target_events(events.lazy()).collect(engine="in-memory")
    if repeats:
        return chosen.sort("user_id", "timestamp")
    return (
        events.filter(pl.col("item_id").is_not_null())
        .group_by("user_id", "item_id")
        .agg(pl.col("timestamp").min())
        .join(chosen, on=["user_id", "item_id"], how="semi")
        .sort("user_id", "timestamp")
    )


def _last_of(events: pl.DataFrame, user_ids: pl.Series, repeats: bool) -> HeldOut:
    pairs = _choices(events, repeats).filter(pl.col("user_id").is_in(user_ids.implode()))
    targets = pairs.unique("user_id", keep="last", maintain_order=True)
    asked_at = targets.select("user_id", asked_at="timestamp")
    before = (
        events.join(asked_at, on="user_id", how="left", maintain_order="left")
        .filter(pl.col("asked_at").is_null() | (pl.col("timestamp") < pl.col("asked_at")))
        .drop("asked_at")
    )
    return HeldOut(before, targets, _after(before), visits(before.clear(), targets))


def _after_moment(events: pl.DataFrame, repeats: bool) -> HeldOut:
    pairs = _choices(events, repeats)
    times = pairs["timestamp"].sort()
    if times.is_empty():
        return HeldOut(events, pairs, _after(events), visits(events, pairs))
    moment: datetime = times[int(len(times) * (1 - TEST_SHARE))]
    later = pairs.filter(pl.col("timestamp") >= moment)
    targets = later.unique("user_id", keep="first", maintain_order=True)
    before = pl.col("timestamp") < moment
    since = visits(events.filter(~before), targets.clear() if repeats else targets)
    return HeldOut(events.filter(before), targets, moment, since)


def visits(events: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """What users did in the `VISIT` before their targets: known to whoever answers, but to no model.

    events: user_id, item_id (null for a mere text), timestamp and more, all at or after the moment at which models are
    made; targets: user_id, item_id, timestamp. Returns the rows of `events`, with asked_for, the item_id of the target
    that they precede. A text in the last `PAGE` before a target is left out: it may be that of the target's own page.
    """
    requests = targets.select("user_id", asked_for="item_id", asked_at="timestamp")
    age = pl.col("asked_at") - pl.col("timestamp")
    least = pl.when(pl.col("item_id").is_null()).then(pl.lit(PAGE)).otherwise(pl.lit(timedelta(0)))
    return (
        events.join(requests, on="user_id", maintain_order="left")
        .filter((age > least) & (age <= VISIT))
        .drop("asked_at")
    )


def _after(events: pl.DataFrame) -> datetime:
    newest = events["timestamp"].max()
    return newest + timedelta(seconds=1) if isinstance(newest, datetime) else datetime.max


def _checked(held_out: HeldOut, protocol: Protocol) -> HeldOut:
    if held_out.targets.is_empty() or held_out.events.is_empty():
        other = "temporal" if protocol == "leave-one-out" else "leave-one-out"
        raise DataError(
            f"{protocol}: {len(held_out.targets)} users can be asked and {len(held_out.events)} events are left to "
            f"learn from; give more events (leave-one-out needs users with {LEAST_ITEMS} items), or try {other}"
        )
    return held_out


def check_no_leak(held_out: HeldOut, repeats: bool = False) -> None:
    """Raises DataError where an event to learn from is at or after its user's target, is of that target's item (unless
    `repeats` are asked for), or is at or after `as_of`; or where one of `since` is at or after its user's target or of
    that target's item."""
    requests = held_out.targets.select("user_id", asked_for="item_id", asked_at="timestamp")
    columns = ("user_id", "item_id", "timestamp")
    learned = held_out.events.select(*columns, learned=pl.lit(value=True))
    since = held_out.since.select(*columns, learned=pl.lit(value=False))
    known = pl.concat([learned, since]).join(requests, on="user_id", how="left")
    too_late = (pl.col("timestamp") >= pl.col("asked_at")) | (
        pl.col("learned") & (pl.col("timestamp") >= held_out.as_of)
    )
    same_item = (pl.col("item_id") == pl.col("asked_for")) & ~(pl.lit(repeats) & pl.col("learned"))
    leaked = known.filter(too_late | same_item)
    if leaked.height:
        row = leaked.row(0, named=True)
        raise DataError(
            f"{leaked.height} of {known.height} known events give away what is asked for (user "
            f"{row['user_id']}, item {row['item_id']}, {row['timestamp']}; the target is {row['asked_for']} of "
            f"{row['asked_at']}); split the events again by `recsys.split`"
        )
