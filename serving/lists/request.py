"""A list request as it is served: its presets filled in, its session completed from the event log.

The same list can be made again from it, which `GET /v1/explain/{recommendation_id}` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http import HTTPStatus

from recsys.result_cache import DIGEST_BYTES
from serving.ingress.problems import FieldProblem, ProblemError
from serving.schemas.list_options import ListRequest


@dataclass(frozen=True)
class SettledRequest:
    """A request with everything that its list depends on.

    request: settled (`serving/schemas/list_options.py`), its session preceded by the shopper's events from the event
    log; at: when it arrived, UTC; unavailable_ids: items that the list may not hold; is_search: whether it came to
    /v1/search; by_ranker: whether the ranker may order the list.
    """

    request: ListRequest
    at: datetime
    unavailable_ids: frozenset[str]
    is_search: bool
    by_ranker: bool

    @cached_property
    def key(self) -> Hashable:
        """A key of everything but the time. It holds no ids of shoppers in clear text."""
        text = self.request.model_dump_json(exclude_unset=True).encode()
        digest = hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()
        return digest, self.unavailable_ids, self.is_search, self.by_ranker


def check_count(count: int, max_count: int) -> None:
    """Raise a ProblemError (422) where `count` is over `recommend.max_count` of the settings."""
    if count > max_count:
        message = f"{count} is more than {max_count}, the most items of one list"
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            f"count: {message}",
            [FieldProblem(field="count", message=message)],
        )
