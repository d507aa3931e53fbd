"""`GET /v1/explain/{recommendation_id}`: a past list, made again from its release with an explanation of each item."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, ValidationError

from features.live.answer_log import Answer
from features.workspace.api_keys import Scope
from recsys.config import Settings
from recsys.errors import StoreError
from recsys.slate import Slate
from serving.ingress.problems import ProblemError, documented
from serving.ingress.scopes import needs
from serving.lists.query import query_of
from serving.lists.record import Content
from serving.lists.response import response_items
from serving.lists.slate import make_slate
from serving.releases.active import ActiveRelease
from serving.releases.replay import ReleaseGoneError
from serving.routes.services import AppDatabase, AppServices, DatabaseServices, Services
from serving.schemas.lists import Name, SlateItem

RETRY_S: Final = 2
EXPLAIN_EXAMPLE: Final[dict[str, Any]] = {
    "recommendation_id": "019a3f5c2b7e7c41a0f2d1c5e8b94a60",
    "asked_at": "2026-01-02T09:30:00.123456Z",
    "user_id": "u-1042",
    "release_id": "20260102T020000Z-5f2c",
    "reproduced": True,
    "served_item_ids": ["i-512"],
    "items": [
        {
            "item_id": "i-512",
            "score": 1.83,
            "rank": 1,
            "source": "linear",
            "title": "Ridge trail shoe, blue",
            "reason": {
                "kind": "together",
                "text": "customers who bought Ridge sock also bought this",
                "item_id": "i-318",
            },
            "scores": {"linear": 1.2, "popular": 0.63},
            "evidence": {"text": "Grips on wet roots.", "review_id": "r-77", "stars": 5.0, "matched_on": "history"},
        }
    ],
    "fallback": None,
    "experiment": "mixed-home",
    "arm": "mixed",
    "took_ms": 3.4,
}


class ExplainResponse(BaseModel):
    """The list of the request at `asked_at`, made again with reasons, scores by source, and evidence.

    `served_item_ids` are the items that were served. `reproduced` is true where `items` holds the same items in the
    same order; it is false where texts or products have changed since. `experiment` and `arm` are set where the shopper
    was in an arm of an experiment.
    """

    recommendation_id: str
    asked_at: datetime
    user_id: str | None
    release_id: str
    reproduced: bool
    served_item_ids: list[str]
    items: list[SlateItem]
    fallback: str | None
    experiment: str | None = None
    arm: str | None = None
    took_ms: float


explain_routes = APIRouter(prefix="/v1", tags=["recommendations"])


@explain_routes.get(
    "/explain/{recommendation_id}",
    summary="Why a list was served",
    description="Lists of /v1/recommend, /v1/recommend:batch and /v1/search are recorded within a second after they "
    "are served, and stored for `serve.replay_days`. Lists of other routes are not recorded. Lists that the database "
    "could not take in time are dropped; the metric `recsys_answers_total` counts them.",
    responses={
        200: {"content": {"application/json": {"example": EXPLAIN_EXAMPLE}}},
        **documented(
            HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
        ),
    },
    response_model_exclude_unset=True,
    openapi_extra=needs(Scope.READ),
)
async def explain(
    recommendation_id: Annotated[Name, Path(description="as in the response that served the list")],
    services: AppServices,
    database: AppDatabase,
) -> ExplainResponse:
    start_s = time.perf_counter()
    answer = await _recorded(recommendation_id, services, database)
    content = _content(answer)
    releases = await _releases_of(answer, services)
    active, slate = await _replayed(content, answer, releases, services.settings.embed.max_browsing_texts)
    in_arm = {} if content.experiment is None else {"experiment": content.experiment, "arm": content.arm}
    return ExplainResponse(
        recommendation_id=recommendation_id,
        asked_at=answer.at,
        user_id=answer.user_id,
        release_id=answer.release_id,
        reproduced=_is_reproduced(slate, content),
        served_item_ids=list(content.item_ids),
        items=response_items(slate, active.release.recommender, content.request.return_properties),
        fallback=slate.fallback,
        took_ms=round(1000 * (time.perf_counter() - start_s), 3),
        **in_arm,
    )


async def _recorded(recommendation_id: str, services: Services, database: DatabaseServices) -> Answer:
    """The record of the list. Raises ProblemError where there is none, or its shopper was erased."""
    try:
        answer = await asyncio.to_thread(_find, recommendation_id, database)
    except StoreError as error:
        raise _unavailable(error) from None
    if answer is None:
        detail = _not_recorded(recommendation_id, services.settings)
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-recommendation", detail)
    if answer.user_id in services.erased_users:
        detail = "the list's shopper was erased, so the list cannot be explained"
        raise ProblemError(HTTPStatus.GONE, "shopper-erased", detail)
    return answer


def _find(recommendation_id: str, database: DatabaseServices) -> Answer | None:
    database.recorder.flush()  # lists that this replica has just served
    return database.answers.find(recommendation_id)


def _content(answer: Answer) -> Content:
    try:
        return Content.model_validate_json(answer.content)
    except ValidationError:
        raise ProblemError(
            HTTPStatus.GONE,
            "record-outdated",
            "this recommendation was stored in an incompatible format by another version",
        ) from None


async def _releases_of(answer: Answer, services: Services) -> Sequence[ActiveRelease]:
    """The release of the list, in each form that is loaded."""
    try:
        return await services.past_releases(answer.release_id)
    except ReleaseGoneError as error:
        raise ProblemError(
            HTTPStatus.GONE,
            "release-gone",
            f"{error}, so its lists cannot be explained; the setting releases.keep says how many releases are kept",
        ) from None
    except StoreError as error:
        raise _unavailable(error) from None


async def _replayed(
    content: Content, answer: Answer, releases: Sequence[ActiveRelease], max_texts: int
) -> tuple[ActiveRelease, Slate]:
    """The list with explanations, from the first form of the release that reproduces it, else from the first form."""
    settled = content.settled(answer)
    settled = replace(settled, request=settled.request.model_copy(update={"explain": True}))
    replays = [(each, make_slate(await query_of(settled, each, max_texts), each)) for each in releases]
    return next((replay for replay in replays if _is_reproduced(replay[1], content)), replays[0])


def _is_reproduced(slate: Slate, content: Content) -> bool:
    return tuple(item.item_id for item in slate.items) == content.item_ids


def _not_recorded(recommendation_id: str, settings: Settings) -> str:
    days = settings.serve.replay_days
    if not days:
        return "lists are not recorded, as serve.replay_days is 0; set it to explain later lists"
    return (
        f"no record of list {recommendation_id!r}; lists of recommend, recommend:batch and search are recorded within "
        f"a second after they are served, and stored for {days:g} days (serve.replay_days)"
    )


def _unavailable(error: StoreError) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "not-replayed", f"{error}; try again", retry_s=RETRY_S)
