"""Errors as RFC 9457 problem details, `application/problem+json`: the one format of every error of the service."""

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
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.errors import EncoderError, QueryError, RecsysError, UnknownItemError
from serving.ingress.request_id import REQUEST_ID

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
MAX_FIELD_PROBLEMS: Final = 20
"""A body with thousands of bad events is answered with the first few problems, not with thousands."""


class FieldProblem(BaseModel):
    """A problem with one field of the request; `field` is its path, such as session.2.timestamp."""

    field: str
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457). `errors` lists the invalid fields, if any. Quote `request_id` when you report a
    problem."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []
    request_id: str = ""


class ProblemError(RecsysError):
    """Raised by a route to answer with an error. `kind` ends the problem's type URI; retry_s: value of Retry-After, 0
    sends none."""

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
    """OpenAPI entries of the errors that a route can answer."""
    # FieldProblem is among the document's schemas: answers of batches have it too.
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    del schema["$defs"]
    content = {MEDIA_TYPE: {"schema": schema}}
    return {int(status): {"description": status.phrase, "content": content} for status in statuses}


def answer_problems(app: FastAPI) -> None:
    """Make `app` answer every error, its own and the framework's, as problem details."""
    app.add_exception_handler(ProblemError, _raised)
    app.add_exception_handler(QueryError, _unanswerable)
    app.add_exception_handler(UnknownItemError, _unknown_item)
    app.add_exception_handler(EncoderError, _no_encoder)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _defect)


class DefectsAsProblems:
    """ASGI middleware: an error that nothing else handles is logged and answered with 500, inside the middlewares that
    add headers; one that comes after the response has begun is passed on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            if has_begun or scope["type"] != "http":
                raise
            await (await _defect(Request(scope), error))(scope, receive, send)


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
    details = error.errors()
    if details[0]["type"] == "json_invalid":
        reason = details[0].get("ctx", {}).get("error", "")
        return problem_response(HTTPStatus.BAD_REQUEST, "malformed-json", f"the body is not valid JSON: {reason}")
    # The path begins with "body", which is no field of the client's.
    fields = [field_problem(detail, detail["loc"][1:]) for detail in details]
    first = as_sentence(fields[0])
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return problem_response(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", first + more, fields[:MAX_FIELD_PROBLEMS]
    )


def as_sentence(problem: FieldProblem) -> str:
    """The problem as text for a `detail`; a problem of the whole body has no path."""
    return f"{problem.field}: {problem.message}" if problem.field else problem.message


def field_problem(error: Mapping[str, Any], path: Sequence[int | str]) -> FieldProblem:
    """One of pydantic's errors as a FieldProblem; path: of the field within the request body."""
    # The value is not repeated: it may be a secret, megabytes long, or not encodable.
    message = _IN_JSON.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    # The name of an unknown field may hold anything, even lone surrogates, which UTF-8 cannot encode.
    name = ".".join(str(part) for part in path)
    return FieldProblem(field=name.encode("utf-8", "replace").decode()[:200], message=message)


_IN_JSON: Final = {
    "extra_forbidden": "unknown field",
    "missing": "is missing",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "datetime_type": "must be a time: ISO 8601 or seconds since 1970",
}
"""Messages of pydantic that speak of Python, in words of JSON."""


async def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return problem_response(error.status_code, kind, detail, headers=error.headers)


async def _defect(request: Request, error: Exception) -> JSONResponse:
    route = getattr(request.scope.get("route"), "path", "unknown")  # the path itself may name a shopper
    log.error("request failed method=%s route=%s", request.method, route, exc_info=error)
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "internal error; the service's log has the details"
    )
