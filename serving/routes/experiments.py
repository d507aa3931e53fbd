"""`GET /v1/experiments`: what is tried on shoppers, and what has come of it."""

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
from serving.live.experiment_reports import ExperimentReports

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
    """How much more than the first arm's, as a share of it, with the ends of the 95 % interval."""

    lift: float
    low: float
    high: float


class ExperimentArm(BaseModel):
    """Shoppers count by what they did after their first list of the arm. `n_converted` of `n_users` have any outcome,
    which is `rate`; the lifts are null for the first arm, and where there is too little to tell."""

    arm: str
    weight: float
    n_users: int
    n_exposures: int = Field(description="lists of the arm that were answered")
    n_converted: int
    n_outcomes: int
    rate: float
    outcomes_per_user: float
    rate_lift: LiftInterval | None
    outcomes_lift: LiftInterval | None


class SampleRatio(BaseModel):
    """How likely a split as uneven as this is. Where it is not to be trusted (p below .001), no lift is."""

    chi_square: float
    p_value: float
    is_trusted: bool


class ExperimentResult(BaseModel):
    """The first arm is what the others are compared with. `share` of the shoppers take part; `since` is the first list
    of any arm, null before there is one; `n_switched` were shown a second arm and count in their first; `n_other` are
    of an arm that the settings no longer have, and count in none."""

    name: str
    share: float
    since: datetime | None
    arms: list[ExperimentArm]
    sample_ratio: SampleRatio
    n_switched: int
    n_other: int


class ExperimentsResponse(BaseModel):
    """The experiments of the settings, as they stood at `as_of`."""

    metric: str
    as_of: datetime
    experiments: list[ExperimentResult]


def experiment_routes(reports: ExperimentReports) -> APIRouter:
    """The route that tells how experiments go."""
    routes = APIRouter(prefix="/v1", tags=["experiments"])

    @routes.get(
        "/experiments",
        summary="What has come of the experiments",
        description="The same figures as `recsys experiments report`, of the lists that were answered for "
        "`serve.exposure_days`. They are worked out at most every ten seconds.",
        responses={
            200: {"content": {"application/json": {"example": EXPERIMENTS_EXAMPLE}}},
            **documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
        },
        openapi_extra=needs(Scope.READ),
    )
    async def experiments(
        metric: Annotated[Metric, Query(description="the type of event that counts as an outcome")] = "purchase",
    ) -> ExperimentsResponse:
        try:
            found = await reports.of(metric)
        except StoreError as error:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, "experiments-not-read", f"{error}; ask again", retry_s=RETRY_S
            ) from None
        told = [_told(report, reports.experiments[report.experiment]) for report in found.reports]
        return ExperimentsResponse(metric=metric, as_of=found.at, experiments=told)

    return routes


def _told(report: ExperimentReport, experiment: config.ExperimentSettings) -> ExperimentResult:
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


def _interval(found: Lift | None) -> LiftInterval | None:
    return None if found is None else LiftInterval(lift=found.lift, low=found.low, high=found.high)
