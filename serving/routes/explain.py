"""`GET /v1/explain/{recommendation_id}`: a list made again from its release, with why each item is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, ValidationError

from features.live.answer_log import Answer, AnswerLog
from features.workspace.api_keys import Scope
from recsys.config import Settings
from recsys.errors import StoreError
from recsys.slate import Slate
from serving.ingress.problems import ProblemError, documented
from serving.ingress.scopes import needs
from serving.lists.conversion import SettledRequest, query_of, slate_of, told_items
from serving.lists.record import Content
from serving.lists.recorder import AnswerRecorder
from serving.releases.active import ActiveRelease
from serving.releases.replay import ReleaseGoneError
from serving.schemas.lists import Id, SlateItem

RETRY_S: Final = 2
EXPLAIN_EXAMPLE: Final[dict[str, Any]] = {
    "recommendation_id": "019a3f5c2b7e7c41a0f2d1c5e8b94a60",
    "asked_at": "2026-01-02T09:30:00.123456Z",
    "user_id": "u-1042",
    "release_id": "20260102T020000Z-5f2c",
    "same": True,
    "given_ids": ["i-512"],
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
    """The list made again, as it was asked for at `asked_at`, with reasons, the score by source, and evidence.

    `same` says whether it holds the items that were given, `given_ids`, in their order: not, where texts or products
    are another way now. `experiment` and `arm` are there where the shopper was in one.
    """

    recommendation_id: str
    asked_at: datetime
    user_id: str | None
    release_id: str
    same: bool
    given_ids: list[str]
    items: list[SlateItem]
    fallback: str | None
    experiment: str | None = None
    arm: str | None = None
    took_ms: float


def explain_routes(
    answers: AnswerLog,
    writer: AnswerRecorder,
    past: Callable[[str], Awaitable[Sequence[ActiveRelease]]],
    settings: Settings,
    forgotten: Container[object] = (),
) -> APIRouter:
    """past: loads a release, as `PastReleases.get`; forgotten: shoppers whose lists are not made again."""
    routes = APIRouter(prefix="/v1", tags=["recommendations"])

    @routes.get(
        "/explain/{recommendation_id}",
        summary="Why a list was as it was",
        description="Lists of /v1/recommend, /v1/recommend:batch and /v1/search are kept for `serve.replay_days`, "
        "within a second after they were answered; those of other routes are not, nor what was dropped because the "
        "database could not follow (`recsys_answers_total` tells).",
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
        recommendation_id: Annotated[Id, Path(description="of the list, as it was answered")],
    ) -> ExplainResponse:
        start_s = time.perf_counter()
        answer = await _found(recommendation_id)
        content = _content(answer)
        lives = await _loaded(answer)
        live, slate = await _replayed(content, content.asked(answer), lives, settings.embed.max_browsing_texts)
        part = {} if content.experiment is None else {"experiment": content.experiment, "arm": content.arm}
        return ExplainResponse(
            recommendation_id=recommendation_id,
            asked_at=answer.at,
            user_id=answer.user_id,
            release_id=answer.release_id,
            same=_holds(slate, content),
            given_ids=list(content.item_ids),
            items=told_items(slate, live.release.recommender, content.request.return_properties),
            fallback=slate.fallback,
            took_ms=round(1000 * (time.perf_counter() - start_s), 3),
            **part,
        )

    async def _found(recommendation_id: str) -> Answer:
        def read() -> Answer | None:
            writer.flush()  # what this replica has just answered
            return answers.find(recommendation_id)

        try:
            answer = await asyncio.to_thread(read)
        except StoreError as error:
            raise _unavailable(error) from None
        if answer is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-recommendation", _unknown(recommendation_id, settings))
        if answer.user_id in forgotten:
            said = "its shopper asked to be erased, so the list is not made again"
            raise ProblemError(HTTPStatus.GONE, "shopper-erased", said)
        return answer

    async def _loaded(answer: Answer) -> Sequence[ActiveRelease]:
        try:
            return await past(answer.release_id)
        except ReleaseGoneError as error:
            raise ProblemError(
                HTTPStatus.GONE,
                "release-gone",
                f"{error}, so its lists cannot be made again; releases.keep says how many are kept",
            ) from None
        except StoreError as error:
            raise _unavailable(error) from None

    return routes


def _content(answer: Answer) -> Content:
    try:
        return Content.model_validate_json(answer.content)
    except ValidationError:
        raise ProblemError(
            HTTPStatus.GONE, "record-outdated", "the list was kept by a version of the service that wrote it otherwise"
        ) from None


async def _replayed(
    content: Content, asked: SettledRequest, lives: Sequence[ActiveRelease], max_texts: int
) -> tuple[ActiveRelease, Slate]:
    """The list from the first form of the release that makes it as it was given, else from the first of all."""
    asked = replace(asked, request=asked.request.model_copy(update={"explain": True}))
    made = [(live, slate_of(await query_of(asked, live, max_texts), live)) for live in lives]
    return next((one for one in made if _holds(one[1], content)), made[0])


def _holds(slate: Slate, content: Content) -> bool:
    return tuple(item.item_id for item in slate.items) == content.item_ids


def _unknown(recommendation_id: str, settings: Settings) -> str:
    days = settings.serve.replay_days
    if not days:
        return "no lists are kept, as serve.replay_days is 0; set it, and later lists can be explained"
    return (
        f"no list {recommendation_id!r} is kept; those of recommend, recommend:batch and search are, for {days:g} days "
        "(serve.replay_days), from a second after they were answered"
    )


def _unavailable(error: StoreError) -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "not-replayed", f"{error}; ask again", retry_s=RETRY_S)
