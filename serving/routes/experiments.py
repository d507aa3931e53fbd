"""`GET /v1/experiments`: the A/B experiments and their results."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from features.live.experiment_report import ArmResult, ExperimentReport
from features.workspace.api_keys import Scope
from recsys import config
from recsys.errors import StoreError
from recsys.experiments import Lift
from serving.ingress.problems import ProblemError, documented
from serving.ingress.scopes import needs
from serving.routes.services import AppDatabase

RETRY_S: Final = 2
Metric = Literal["click", "cart", "purchase"]

EXPERIMENTS_EXAMPLE: Final[dict[str, Any]] = {
    "metric": "purchase",
    "as_of": "2026-01-15T09:30:00.123456Z",
    "experiments": [
        {
            "name": "mixed-home",
            "share": 0.5,
            "since": "2026-01-02T09:30:00.123456Z",
            "arms": [
                {
                    "arm": "as-is",
                    "weight": 1.0,
                    "n_users": 5013,
                    "n_exposures": 20145,
                    "n_converted": 401,
                    "n_outcomes": 512,
                    "rate": 0.08,
                    "outcomes_per_user": 0.1021,
                    "rate_lift": None,
                    "outcomes_lift": None,
                },
                {
                    "arm": "mixed",
                    "weight": 1.0,
                    "n_users": 4987,
                    "n_exposures": 19880,
                    "n_converted": 456,
                    "n_outcomes": 590,
                    "rate": 0.0914,
                    "outcomes_per_user": 0.1183,
                    "rate_lift": {"lift": 0.143, "low": 0.007, "high": 0.298},
                    "outcomes_lift": {"lift": 0.158, "low": 0.005, "high": 0.335},
                },
            ],
            "sample_ratio": {"chi_square": 0.068, "p_value": 0.795, "is_trusted": True},
            "n_switched": 0,
            "n_other": 0,
        }
    ],
}


class LiftInterval(BaseModel):
    """The relative difference from the first arm, with the ends of its 95 % interval."""

    lift: float
    low: float
    high: float


class ExperimentArm(BaseModel):
    """Outcomes count from a shopper's first list of the arm. `n_converted` of the `n_users` shoppers have at least one
    outcome; `rate` is their share. The lifts are null for the first arm, and where there is too little data."""

    arm: str
    weight: float
    n_users: int
    n_exposures: int = Field(description="lists served in the arm")
    n_converted: int
    n_outcomes: int
    rate: float
    outcomes_per_user: float
    rate_lift: LiftInterval | None
    outcomes_lift: LiftInterval | None


class SampleRatio(BaseModel):
    """The sample ratio check: how likely a split as uneven as this one is. Below p = .001 `is_trusted` is false, and no
    lift should be trusted."""

    chi_square: float
    p_value: float
    is_trusted: bool


class ExperimentResult(BaseModel):
    """The other arms are compared with the first. `share` of the shoppers take part; `since` is the time of the first
    list of any arm, null before there is one. `n_switched` shoppers were shown a second arm, and count in their first;
    `n_other` shoppers are in an arm that is no longer in the settings, and count in none."""

    name: str
    share: float
    since: datetime | None
    arms: list[ExperimentArm]
    sample_ratio: SampleRatio
    n_switched: int
    n_other: int


class ExperimentsResponse(BaseModel):
    """The results of the experiments in the settings, as of `as_of`."""

    metric: str
    as_of: datetime
    experiments: list[ExperimentResult]


experiment_routes = APIRouter(prefix="/v1", tags=["experiments"])


@experiment_routes.get(
    "/experiments",
    summary="Results of the experiments",
    description="The same figures as `recsys experiments report`, for the lists served within "
    "`serve.exposure_days`. They are computed at most every ten seconds.",
    responses={
        200: {"content": {"application/json": {"example": EXPERIMENTS_EXAMPLE}}},
        **documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
    },
    openapi_extra=needs(Scope.READ),
)
async def experiments(
    database: AppDatabase,
    metric: Annotated[Metric, Query(description="the type of event that counts as an outcome")] = "purchase",
) -> ExperimentsResponse:
    try:
        computed = await database.experiments.of(metric)
    except StoreError as error:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE, "experiments-not-read", f"{error}; try again", retry_s=RETRY_S
        ) from None
    settings = database.experiments.experiments
    results = [_result(report, settings[report.experiment]) for report in computed.reports]
    return ExperimentsResponse(metric=metric, as_of=computed.at, experiments=results)


def _result(report: ExperimentReport, experiment: config.ExperimentSettings) -> ExperimentResult:
    ratio = report.ratio
    return ExperimentResult(
        name=report.experiment,
        share=experiment.share,
        since=report.since,
        arms=[_arm(arm, experiment.arms[arm.arm].weight) for arm in report.arms],
        sample_ratio=SampleRatio(chi_square=ratio.chi_square, p_value=ratio.p_value, is_trusted=ratio.is_trusted),
        n_switched=report.n_switched,
        n_other=report.n_other,
    )


def _arm(arm: ArmResult, weight: float) -> ExperimentArm:
    return ExperimentArm(
        arm=arm.arm,
        weight=weight,
        n_users=arm.n_users,
        n_exposures=arm.n_exposures,
        n_converted=arm.n_converted,
        n_outcomes=arm.n_outcomes,
        rate=arm.rate,
        outcomes_per_user=arm.outcomes_per_user,
        rate_lift=_interval(arm.rate_lift),
        outcomes_lift=_interval(arm.outcomes_lift),
    )


def _interval(lift: Lift | None) -> LiftInterval | None:
    return None if lift is None else LiftInterval(lift=lift.lift, low=lift.low, high=lift.high)
