"""`POST /v1/recommend:batch`: many lists in one call, such as those of a mailing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field, ValidationError

from features.workspace.api_keys import Scope
from recsys.errors import EncoderError, QueryError
from serving.ingress.problems import MAX_FIELD_PROBLEMS, FieldProblem, ProblemError, field_problem, spelled
from serving.ingress.scopes import needs
from serving.schemas.list_options import ListRequest
from serving.schemas.lists import Request, SlateResponse

MAX_REQUESTS: Final = 1_000

BATCH_EXAMPLES: Final[dict[str, Any]] = {
    "a mailing": {
        "value": {
            "requests": [
                {"user_id": "u-1042", "scenario": "email"},
                {"user_id": "u-7", "scenario": "email", "explain": True},
            ]
        }
    }
}


class BatchRequest(Request):
    """Each request as /v1/recommend takes it."""

    requests: tuple[dict[str, Any], ...] = Field(min_length=1, max_length=MAX_REQUESTS)


class BatchProblem(BaseModel):
    """Why one request has no list."""

    status: int
    detail: str
    errors: list[FieldProblem] = []


class BatchResult(BaseModel):
    """Either a list or a problem; the other is null."""

    slate: SlateResponse | None
    problem: BatchProblem | None


class BatchResponse(BaseModel):
    """One result for each request, in their order."""

    results: list[BatchResult]
    n_failed: int
    took_ms: float


def batch_routes(
    recommend: Callable[[ListRequest], Awaitable[SlateResponse]], responses: Mapping[int | str, dict[str, Any]]
) -> APIRouter:
    """recommend: what answers /v1/recommend; responses: those that a batch may have, documented."""
    routes = APIRouter()

    @routes.post(
        "/recommend:batch",
        summary="Lists for many shoppers",
        responses=dict(responses),
        response_model_exclude_unset=True,
        openapi_extra=needs(Scope.READ),
    )
    async def recommend_batch(
        batch: Annotated[BatchRequest, Body(openapi_examples=BATCH_EXAMPLES)],
    ) -> BatchResponse:
        start_s = time.perf_counter()
        results = []
        for raw in batch.requests:
            results.append(await _result(raw, recommend))
            await asyncio.sleep(0)  # whoever else waits for a list comes in between
        n_failed = sum(result.problem is not None for result in results)
        took_ms = round(1000 * (time.perf_counter() - start_s), 3)
        return BatchResponse(results=results, n_failed=n_failed, took_ms=took_ms)

    return routes


async def _result(raw: Mapping[str, Any], recommend: Callable[[ListRequest], Awaitable[SlateResponse]]) -> BatchResult:
    try:
        return BatchResult(slate=await recommend(ListRequest.model_validate(raw)), problem=None)
    except ValidationError as error:
        fields = [field_problem(each, each["loc"]) for each in error.errors()[:MAX_FIELD_PROBLEMS]]
        return _failed(HTTPStatus.UNPROCESSABLE_ENTITY, spelled(fields[0]), fields)
    except ProblemError as error:
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:  # so would all the others be
            raise
        return _failed(error.status, str(error), list(error.errors))
    except QueryError as error:
        return _failed(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), [])
    except EncoderError as error:
        return _failed(HTTPStatus.SERVICE_UNAVAILABLE, str(error), [])


def _failed(status: HTTPStatus, detail: str, errors: list[FieldProblem]) -> BatchResult:
    return BatchResult(slate=None, problem=BatchProblem(status=status, detail=detail, errors=errors))
