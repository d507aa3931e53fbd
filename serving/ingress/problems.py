"""Every error of the service in one format: RFC 9457 problem details, `application/problem+json`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from recsys.errors import EncoderError, QueryError, RecsysError, UnknownItemError
from serving.ingress.request_id import REQUEST_ID

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
MAX_FIELD_PROBLEMS: Final = 20
"""A body of thousands of bad events is answered with the first few, not with thousands of lines."""


class FieldProblem(BaseModel):
    """What is wrong with one field; `field` is its path, such as session.2.timestamp."""

    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457; `errors` lists the fields at fault where there are any, `request_id` is what a report should quote."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []
    request_id: str = ""


class ProblemError(RecsysError):
    """An answer other than success, raised by a route. `kind` becomes the end of the problem's type URI."""

    def __init__(
        self, status: HTTPStatus, kind: str, detail: str, errors: Sequence[FieldProblem] = (), retry_s: int = 0
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.errors = tuple(errors)
        self.retry_s = retry_s


def problem_response(
    status: int,
    kind: str,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The problem as an HTTP response."""
    problem = Problem(
        type=f"urn:recsys:problem:{kind}",
        title=kind.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        errors=list(errors),
        request_id=REQUEST_ID.get(),
    )
    return JSONResponse(problem.model_dump(), status_code=status, headers=headers, media_type=MEDIA_TYPE)


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of the problems that a route can answer."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {int(status): {"description": status.phrase, "content": content} for status in statuses}


def answer_problems(app: FastAPI) -> None:
    """Make `app` answer every error, its own and the framework's, as a problem."""
    app.add_exception_handler(ProblemError, _raised)
    app.add_exception_handler(QueryError, _unanswerable)
    app.add_exception_handler(UnknownItemError, _unknown_item)
    app.add_exception_handler(EncoderError, _no_encoder)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _defect)


async def _raised(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    headers = {"Retry-After": str(error.retry_s)} if error.retry_s else None
    return problem_response(error.status, error.kind, str(error), error.errors[:MAX_FIELD_PROBLEMS], headers)


async def _unanswerable(_request: Request, error: Exception) -> JSONResponse:
    return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", str(error))


async def _unknown_item(_request: Request, error: Exception) -> JSONResponse:
    return problem_response(HTTPStatus.NOT_FOUND, "unknown-item", str(error))


async def _no_encoder(_request: Request, error: Exception) -> JSONResponse:
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, "encoder-unavailable", str(error))


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "")
        return problem_response(HTTPStatus.BAD_REQUEST, "malformed-json", f"the body is not JSON: {reason}")
    # The path begins with "body", which the client never wrote.
    fields = [field_problem(each, each["loc"][1:]) for each in found]
    first = spelled(fields[0])
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return problem_response(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", first + more, fields[:MAX_FIELD_PROBLEMS]
    )


def spelled(problem: FieldProblem) -> str:
    """As a sentence of a `detail`; a body as a whole has no path."""
    return f"{problem.field}: {problem.message}" if problem.field else problem.message


def field_problem(found: Mapping[str, Any], path: Sequence[int | str]) -> FieldProblem:
    """One of pydantic's errors; path: of the field, as its sender knows it."""
    # The value itself is not repeated: it may be a secret, megabytes long, or not encodable.
    message = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        message = "unknown field"
    # A client's own key may hold anything, lone surrogates included, which UTF-8 cannot carry.
    name = ".".join(str(part) for part in path)
    return FieldProblem(field=name.encode("utf-8", "replace").decode()[:200], message=message)


async def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return problem_response(error.status_code, kind, detail, headers=error.headers)


async def _defect(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed method=%s path=%s", request.method, request.url.path, exc_info=error)
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "the service failed; see its log")
