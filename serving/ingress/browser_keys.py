"""Keys of the scope `browser`, which stand in the source of a page for everybody to read.

Such a key proves nothing about who calls. So it may only store events and ask for lists, and may name no shopper but by
a visitor id: a fixed prefix and random characters that the page draws once and keeps. Who does not know the id of a
visitor can neither read that visitor's lists nor write to that history, and ids of the shop's customers cannot be named
at all. Requests are limited by the caller's address.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from features.workspace.api_keys import ApiKey
from features.workspace.api_keys import Scope as KeyScope
from recsys import config
from serving.ingress.haproxy import SOURCE_HEADER
from serving.ingress.problems import ProblemError

VISITOR_PREFIX: Final = "visitor-"
MIN_RANDOM_CHARS: Final = 20
"""Of 62 and more characters each: more than 119 bits. `crypto.randomUUID()` has 36."""

FROM_BROWSER: Final = "recsys.from_browser"
"""Entry of the ASGI scope that is set where a browser key was needed to let the request in."""

VISITOR_RULE: Final = (
    f"a key of the scope browser may name visitors only: {VISITOR_PREFIX} and at least {MIN_RANDOM_CHARS} random "
    "letters, digits or hyphens that the page draws once and keeps"
)

_VISITOR: Final = re.compile(rf"{VISITOR_PREFIX}[A-Za-z0-9_-]{{{MIN_RANDOM_CHARS},}}")


def is_browser_key(key: ApiKey) -> bool:
    """Whether it may stand in a page: it has no other scope."""
    return key.scopes == (KeyScope.BROWSER,)


def may_name(scope: Scope, user_id: str | None) -> bool:
    """Whether the request of this ASGI scope may name the shopper."""
    return user_id is None or not scope.get(FROM_BROWSER) or _VISITOR.fullmatch(user_id) is not None


def check_visitor(scope: Scope, user_id: str | None) -> None:
    """Raise a ProblemError (403) where the request may not name the shopper."""
    if not may_name(scope, user_id):
        raise ProblemError(HTTPStatus.FORBIDDEN, "forbidden", VISITOR_RULE)


def address_of(scope: Scope, settings: config.ServeSettings) -> str:
    """The caller's address: as our proxy saw it, or what the outermost of the shop's own proxies wrote."""
    headers = Headers(scope=scope)
    if settings.trusted_proxies:
        passed = [part.strip() for part in headers.get("x-forwarded-for", "").split(",") if part.strip()]
        if len(passed) >= settings.trusted_proxies:
            return passed[-settings.trusted_proxies]
    if settings.haproxy and (source := headers.get(SOURCE_HEADER)):
        return source
    client = scope.get("client")
    return str(client[0]) if client else ""
