"""Offline evaluation of a release on what shoppers chose after it, that is, on events that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import polars as pl

from recsys.batch_scoring import shown_rows
from recsys.errors import DataError, QueryError
from recsys.interactions import positions, rating_events
from recsys.item_groups import GROUPINGS, fewer, item_groups
from recsys.metrics import bootstrap_interval, ndcg, recall, shown_ranks
from recsys.query import Query, Signal
from recsys.recommend import Recommender
from recsys.split import new_items, next_items, target_events

K: Final = 10
MAX_USERS: Final = 5_000
MAX_GROUPS: Final = 15
MIN_USERS: Final = 10
"""Groups with fewer shoppers are merged into one, because their means are mostly noise."""

LIGHT_BELOW: Final = 10
"""A shopper with fewer items in the history counts as light."""

SMALLER: Final = "smaller groups"
SHOPPER: Final = "shopper"


@dataclass(frozen=True)
class Evaluation:
    """One row per shopper.

    targets: user_id, item_id, timestamp of the shopper's next choice; ranks: (n,) 0-based place of that item in the
    list, K if it is not in it; shown_rows: (n, K) item rows of the list; n_history: (n,) items in the shopper's
    history.
    """

    recommender: Recommender
    targets: pl.DataFrame
    ranks: np.ndarray
    shown_rows: np.ndarray
    n_history: np.ndarray

    def by(self, group: str, users: pl.DataFrame | None = None) -> pl.DataFrame:
        """group, n_users, recall, ndcg (both at 10), low, high (95 % interval of the mean NDCG), worst first.

        group: one of `GROUPINGS`, for the chosen item; "shopper"; or a column of `users`, which also has user_id.
        Raises QueryError for any other group.
        """
        groups = self._groups(group, users)
        named = pl.Series(fewer(groups, MAX_GROUPS), dtype=pl.String)
        counts = named.drop_nulls().value_counts(name="n")
        small = set(counts.filter(pl.col("n") < MIN_USERS)[named.name].to_list())
        names = [SMALLER if name in small else name for name in named]
        gains, hits = ndcg(self.ranks, K), recall(self.ranks, K)
        rows = []
        for name in sorted({name for name in names if name is not None}):
            members = np.array([other == name for other in names])
            low, high = bootstrap_interval(gains[members], seed=0)
            means = {"recall": float(hits[members].mean()), "ndcg": float(gains[members].mean())}
            rows.append({"group": name, "n_users": int(members.sum()), **means, "low": low, "high": high})
        schema = {
            "group": pl.String,
            "n_users": pl.Int64,
            **dict.fromkeys(("recall", "ndcg", "low", "high"), pl.Float64),
        }
        return pl.DataFrame(rows, schema=schema).sort("ndcg", "group")

    def _groups(self, group: str, users: pl.DataFrame | None) -> Sequence[str | None]:
        if users is not None:
            if missing := [name for name in ("user_id", group) if name not in users.columns]:
                raise QueryError(f"users: no column {missing[0]!r}; it has {', '.join(users.columns)}")
            group_of = users.select("user_id", pl.col(group).cast(pl.String)).unique("user_id")
            return self.targets.join(group_of, on="user_id", how="left", maintain_order="left")[group].to_list()
        if group == SHOPPER:
            return ["new" if n == 0 else "light" if n < LIGHT_BELOW else "heavy" for n in self.n_history]
        if group not in GROUPINGS:
            raise QueryError(
                f"no groups by {group!r}; there are {SHOPPER}, {', '.join(GROUPINGS)}, and columns of a table of users"
            )
        of_items = item_groups(self.recommender, group)
        rows = positions(self.targets["item_id"], self.recommender.model.item_ids)
        return [of_items[row] for row in rows]


def evaluate(
    recommender: Recommender, events: pl.LazyFrame, reviews: pl.LazyFrame, as_of: datetime, seed: int = 0
) -> Evaluation:
    """Each shopper's first choice after `as_of`, and the list that the service would have shown just before it.

    The list takes into account what the shopper did between `as_of` and the choice. At most `MAX_USERS` shoppers are
    evaluated, drawn with the seed. events, reviews: all of the lake's, later ones included. Raises DataError if nobody
    has chosen anything since.
    """
    columns = ("user_id", "item_id", "event_type", "timestamp", "value")
    is_choice = pl.col("item_id").is_not_null() & (pl.col("event_type") != "impression")
    done = pl.concat([events.filter(is_choice).select(columns), rating_events(reviews)]).collect(engine="in-memory")
    chosen = target_events(done.lazy()).collect(engine="in-memory")
    item_ids, repeats = recommender.model.item_ids, recommender.model.repeats.allowed
    targets = next_items(new_items(chosen, done, item_ids, as_of, datetime.max.replace(tzinfo=UTC), repeats))
    if targets.is_empty():
        raise DataError(
            f"no shopper has chosen an item after this release ({as_of:%Y-%m-%d %H:%M}), so it cannot be evaluated; "
            "open an older release, or ingest newer events"
        )
    if len(targets) > MAX_USERS:
        targets = targets.sample(MAX_USERS, seed=seed).sort("user_id")
    queries = _queries(targets, done.filter(pl.col("timestamp") >= as_of))
    shown = shown_rows(recommender, queries, K)
    ranks = shown_ranks(shown, positions(targets["item_id"], item_ids))
    known = [recommender.users.history(user_id).item_rows for user_id in targets["user_id"]]
    return Evaluation(recommender, targets, ranks, shown, np.array([(rows >= 0).sum() for rows in known]))


def _queries(targets: pl.DataFrame, since: pl.DataFrame) -> list[Query]:
    """One query per target; its session is what the shopper did before the target, without events on the target."""
    requests = targets.select("user_id", target="item_id", asked_at="timestamp")
    before = (
        since.join(requests, on="user_id")
        .filter((pl.col("timestamp") < pl.col("asked_at")) & (pl.col("item_id") != pl.col("target")))
        .sort("timestamp")
    )
    sessions: dict[str, list[Signal]] = {}
    signals = before.select("user_id", pl.col("event_type").cast(pl.String), "timestamp", "item_id", "value")
    for user_id, kind, at, item_id, value in signals.iter_rows():
        sessions.setdefault(user_id, []).append(Signal(kind, at, item_id, value=value))
    return [
        Query(user_id=user_id, session=tuple(sessions.get(user_id, ())), count=K, asked_at=at)
        for user_id, at in targets.select("user_id", "timestamp").iter_rows()
    ]
