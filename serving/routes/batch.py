"""`POST /v1/recommend:batch`: many lists in one call, for example for a mailing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field, ValidationError

from features.workspace.api_keys import Scope
from recsys.errors import EncoderError, QueryError
from serving.ingress.problems import MAX_FIELD_PROBLEMS, FieldProblem, ProblemError, as_sentence, field_problem
from serving.ingress.scopes import needs
from serving.lists.service import ListService
from serving.routes.responses import BODY_PROBLEMS
from serving.routes.services import AppServices
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
    """Why a request of the batch has no list."""

    status: int
    detail: str
    errors: list[FieldProblem] = []


class BatchResult(BaseModel):
    """Either a list or a problem; the other is null."""

    slate: SlateResponse | None
    problem: BatchProblem | None


class BatchResponse(BaseModel):
    """One result for each request, in the same order."""

    results: list[BatchResult]
    n_failed: int
    took_ms: float


batch_routes = APIRouter(prefix="/v1", tags=["recommendations"])


@batch_routes.post(
    "/recommend:batch",
    summary="Recommendations for many shoppers",
    responses=BODY_PROBLEMS,
    response_model_exclude_unset=True,
    openapi_extra=needs(Scope.READ),
)
async def recommend_batch(
    batch: Annotated[BatchRequest, Body(openapi_examples=BATCH_EXAMPLES)], services: AppServices
) -> BatchResponse:
    start_s = time.perf_counter()
    results = []
    for raw in batch.requests:
        results.append(await _result(raw, services.lists))
        await asyncio.sleep(0)  # other requests that wait for a list come in between
    n_failed = sum(result.problem is not None for result in results)
    took_ms = round(1000 * (time.perf_counter() - start_s), 3)
    return BatchResponse(results=results, n_failed=n_failed, took_ms=took_ms)


async def _result(raw: Mapping[str, Any], lists: ListService) -> BatchResult:
    try:
        return BatchResult(slate=await lists.serve(ListRequest.model_validate(raw)), problem=None)
    except ValidationError as error:
        fields = [field_problem(each, each["loc"]) for each in error.errors()[:MAX_FIELD_PROBLEMS]]
        return _failed(HTTPStatus.UNPROCESSABLE_ENTITY, as_sentence(fields[0]), fields)
    except ProblemError as error:
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:  # so would all the other requests
            raise
        return _failed(error.status, str(error), list(error.errors))
    except QueryError as error:
        return _failed(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), [])
    except EncoderError as error:
        return _failed(HTTPStatus.SERVICE_UNAVAILABLE, str(error), [])


def _failed(status: HTTPStatus, detail: str, errors: list[FieldProblem]) -> BatchResult:
    return BatchResult(slate=None, problem=BatchProblem(status=status, detail=detail, errors=errors))
