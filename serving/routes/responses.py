"""Documented responses that several routes share."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from serving.ingress.problems import documented
from serving.schemas.lists import SLATE_RESPONSES

BODY_PROBLEMS: Final = documented(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""Of every route that takes a body."""

LIST_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {**SLATE_RESPONSES, **BODY_PROBLEMS}
"""Of every route that takes a body and answers a list."""
