"""The scope that each route needs. A route declares it as OpenAPI's `security`, and this module reads it from there.

    @routes.post("/recommend", openapi_extra=needs(Scope.READ))

A route below /v1/ without a scope keeps the service from starting, so no route is open by omission.
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
"""Health checks and the API's description need no key: load balancers and browsers have none."""

HEADERS: Final[dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})


def needs(scope: Scope, *others: Scope) -> dict[str, Any]:
    """The `openapi_extra` of a route that only keys with this scope, or one of the others, may call."""
    return {"security": [{name: [scope.value, *(other.value for other in others)]} for name in HEADERS]}


@dataclass(frozen=True)
class Route:
    """A declared path of the service, and the scope that each of its methods needs, if any. for_browsers: the methods
    that keys of the scope browser may call, too."""

    template: str
    scopes: Mapping[str, Scope]
    for_browsers: frozenset[str] = frozenset()


class Routes:
    """Every path of the service, except for those of its description and pages."""

    def __init__(self, routes: list[Route]) -> None:
        self._exact = {route.template: route for route in routes if "{" not in route.template}
        self._patterns = [(_pattern(route.template), route) for route in routes if "{" in route.template]

    def find(self, path: str, method: str = "GET") -> Route | None:
        """The route that answers `path`, one that declares a scope for the method before others; None where none
        does."""
        route = self._exact.get(path)
        if route is not None:
            return route
        matching = [route for pattern, route in self._patterns if pattern.fullmatch(path)]
        return next((route for route in matching if method in route.scopes), matching[0] if matching else None)


def _pattern(template: str) -> re.Pattern[str]:
    """A parameter at the end, or before a verb such as `:merge`, may hold slashes, as ids of some shops do; any other
    is one segment of the path."""
    at_end = re.sub(r"\\\{\w+\\\}(:\w+)?$", r".+\1", re.escape(template))
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", at_end))


def guard_routes(app: FastAPI) -> Routes:
    """The routes of `app`. Adds the answers of `AccessControl` (401, 403, 429) to its OpenAPI description.

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
        scopes, for_browsers = {}, set()
        for method in METHODS & operations.keys():
            declared = operations[method].get("security")
            if declared:
                first, *others = declared[0]["bearer"]
                scopes[method.upper()] = Scope(first)
                for_browsers |= {method.upper()} if Scope.BROWSER in others else set()
                operations[method]["responses"] |= refusals
            elif template.startswith(GUARDED):
                raise ValueError(f"{method.upper()} {template}: no scope; declare it with openapi_extra=needs(…)")
        routes.append(Route(template, scopes, frozenset(for_browsers)))
    return Routes(routes)


ROUTE: Final = "recsys.route"
KEY_NAME: Final = "recsys.key_name"
"""Entries of the ASGI scope by which one middleware passes the route, and the name of the API key, to the other."""
