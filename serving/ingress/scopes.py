"""Which scope a route needs. Routes declare it where they are defined, as OpenAPI's `security`; this reads it there.

    @routes.post("/recommend", openapi_extra=needs(Scope.READ))

A route below /v1/ that declares none keeps the service from starting, so nothing is open by omission.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from features.workspace.api_keys import Scope
from serving.ingress.problems import documented

GUARDED: Final = "/v1/"
"""Health checks and the API's description stay open: load balancers and browsers carry no key."""

HEADERS: Final[dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})


def needs(scope: Scope) -> dict[str, Any]:
    """`openapi_extra` of a route that only keys with this scope may call."""
    return {"security": [{name: [scope.value]} for name in HEADERS]}


@dataclass(frozen=True)
class Route:
    """A path of the service as it is declared, and the scope that each of its methods needs, if any."""

    template: str
    scopes: Mapping[str, Scope]


class Routes:
    """Every path of the service; those of its description and pages aside."""

    def __init__(self, routes: list[Route]) -> None:
        self._exact = {route.template: route for route in routes if "{" not in route.template}
        self._patterns = [(_pattern(route.template), route) for route in routes if "{" in route.template]

    def find(self, path: str) -> Route | None:
        """The route that answers `path`, None where none does."""
        route = self._exact.get(path)
        if route is not None:
            return route
        return next((route for pattern, route in self._patterns if pattern.fullmatch(path)), None)


def _pattern(template: str) -> re.Pattern[str]:
    """A parameter at the end may hold slashes, as ids of some shops do; others are one part of the path."""
    at_end = re.sub(r"\\\{\w+\\\}$", ".+", re.escape(template))
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", at_end))


def guard_routes(app: FastAPI) -> Routes:
    """The routes of `app`, whose description from now on tells the guard's own answers too.

    Raises ValueError for a route below /v1/ that declares no scope.
    """
    description = app.openapi()
    description.setdefault("components", {})["securitySchemes"] = HEADERS
    refusals = {
        str(status): answer
        for status, answer in documented(
            HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS
        ).items()
    }
    routes = []
    for template, operations in description["paths"].items():
        scopes = {}
        for method in METHODS & operations.keys():
            declared = operations[method].get("security")
            if declared:
                scopes[method.upper()] = Scope(declared[0]["bearer"][0])
                operations[method]["responses"] |= refusals
            elif template.startswith(GUARDED):
                raise ValueError(f"{method.upper()} {template}: no scope; declare it with openapi_extra=needs(…)")
        routes.append(Route(template, scopes))
    return Routes(routes)


ROUTE: Final = "recsys.route"


KEY_NAME: Final = "recsys.key_name"
"""Where the scope of a request holds what one middleware finds out for the other."""
