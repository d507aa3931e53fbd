"""The report of an experiment: who was shown which arm, and what they did from then on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.live.answer_log import AnswerLog
from features.live.database import LiveDatabase
from features.live.event_log import EventLog
from features.workspace.lake_files import scan_events
from recsys import config
from recsys.experiments import Lift, RatioCheck, lift, ratio_check


@dataclass(frozen=True)
class ArmResult:
    """n_outcomes: events of the metric after the shopper's first list; n_converted: shoppers who have any. The lifts of
    rate and of outcomes a user are against the first arm, None for that one and where there is too little to tell."""

    arm: str
    n_users: int
    n_exposures: int
    n_converted: int
    n_outcomes: int
    rate_lift: Lift | None
    outcomes_lift: Lift | None

    @property
    def rate(self) -> float:
        """Share of the users who have an outcome; 0.0 without users."""
        return self.n_converted / self.n_users if self.n_users else 0.0

    @property
    def outcomes_per_user(self) -> float:
        """0.0 without users."""
        return self.n_outcomes / self.n_users if self.n_users else 0.0


@dataclass(frozen=True)
class ExperimentReport:
    """since: the first list of any arm, None before there was one; n_switched: shoppers who were shown a second arm,
    as happens where weights are changed: they count in the first; n_other: those whose arm is not in the settings any
    more, who count in none."""

    experiment: str
    metric: str
    since: datetime | None
    arms: tuple[ArmResult, ...]
    ratio: RatioCheck
    n_switched: int
    n_other: int

    def to_json(self) -> dict[str, Any]:
        """All figures; a lift that cannot be computed is null."""
        arms = [asdict(arm) | {"rate": arm.rate, "outcomes_per_user": arm.outcomes_per_user} for arm in self.arms]
        ratio = asdict(self.ratio) | {"is_trusted": self.ratio.is_trusted}
        since = self.since and self.since.isoformat()
        return asdict(self) | {"since": since, "arms": arms, "ratio": ratio}


def experiment_report(
    name: str, experiment: config.ExperimentSettings, metric: str, database: LiveDatabase, lake: Path
) -> ExperimentReport:
    """The experiment as it stands. metric: a type of event; lake: its folder.

    Events are looked for in the lake and in the live database, which has those of the day, and count by shopper: what
    they did after their first list, whichever list it came from.
    """
    exposed = AnswerLog(database).exposed(name)
    first = (
        exposed.sort("first_at", "arm")
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("arm").first(), pl.col("first_at").first(), pl.len().alias("n_arms"))
    )
    since: datetime | None = exposed["first_at"].min()  # type: ignore[assignment]
    users = first.join(_outcomes(first, metric, since, database, lake), on="user_id", how="left").with_columns(
        pl.col("n_outcomes").fill_null(0)
    )
    shown = dict(exposed.group_by("arm").agg(pl.col("n_exposures").sum()).iter_rows())
    results = _results(users, shown, list(experiment.arms))
    weights = [arm.weight for arm in experiment.arms.values()]
    return ExperimentReport(
        experiment=name,
        metric=metric,
        since=since,
        arms=results,
        ratio=ratio_check([arm.n_users for arm in results], weights),
        n_switched=int((users["n_arms"] > 1).sum()),
        n_other=len(users) - sum(arm.n_users for arm in results),
    )


def _outcomes(
    users: pl.DataFrame, metric: str, since: datetime | None, database: LiveDatabase, lake: Path
) -> pl.DataFrame:
    """user_id, n_outcomes: events of the users after they were first shown an arm; users without any are not there."""
    if since is None:
        return pl.DataFrame(schema={"user_id": pl.String, "n_outcomes": pl.UInt32})
    columns = ("event_id", "user_id", "timestamp")
    of_type = pl.col("event_type").cast(pl.String) == metric
    in_lake = scan_events(lake, since).filter(of_type).select(columns).collect()
    # The lake has today's events, too, once a nightly run has ingested them.
    events = pl.concat([in_lake, EventLog(database).of_type(metric, since)]).unique("event_id")
    after = events.join(users, on="user_id").filter(pl.col("timestamp") >= pl.col("first_at"))
    return after.group_by("user_id").agg(pl.len().alias("n_outcomes"))


def _results(users: pl.DataFrame, n_exposures: Mapping[str, int], arms: list[str]) -> tuple[ArmResult, ...]:
    by_arm = {arm: users.filter(pl.col("arm") == arm)["n_outcomes"].to_numpy().astype(np.float64) for arm in arms}
    control = by_arm[arms[0]]
    results = []
    for arm, outcomes in by_arm.items():
        is_control = arm == arms[0]
        results.append(
            ArmResult(
                arm=arm,
                n_users=len(outcomes),
                n_exposures=n_exposures.get(arm, 0),
                n_converted=int((outcomes > 0).sum()),
                n_outcomes=int(outcomes.sum()),
                rate_lift=None if is_control else lift(1.0 * (control > 0), 1.0 * (outcomes > 0)),
                outcomes_lift=None if is_control else lift(control, outcomes),
            )
        )
    return tuple(results)
