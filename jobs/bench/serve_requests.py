"""The requests of `recsys bench serve`: the body of every target, in one place."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from jobs.services.load_generator import request_bytes

NO_OP: Final = "no-op"
KNOWN_USER: Final = "known user"
AFTER_EVENT: Final = "known user, new event"
"""Each request has a new view in its session, as after a page view, so the service cannot answer it from its cache of
known users."""

TEXT: Final = "text"
TEXT_CACHED: Final = "text cached"
BASELINE: Final = "baseline"

COUNT: Final = 10
N_DRAWN: Final = 500
N_CACHED_TEXTS: Final = 20
SESSION_ITEMS: Final = 3
TEXT_WORDS: Final = 6


@dataclass(frozen=True)
class Shop:
    """Material for requests: users with a history, items, words of titles, and the median price."""

    users: list[str]
    items: list[str]
    words: list[str]
    price: float


def bodies(shop: Shop, seed: int) -> dict[str, Iterator[dict[str, Any]]]:
    """Endless bodies of `/v1/recommend` by target. Texts of `TEXT` do not repeat within the size of a text cache."""
    rng = np.random.default_rng(seed)
    users = itertools.cycle(rng.permutation(shop.users)[:N_DRAWN].tolist())
    sessions = [
        [{"item_id": item_id, "event_type": "view"} for item_id in rng.choice(shop.items, SESSION_ITEMS).tolist()]
        for _ in range(N_DRAWN)
    ]
    cached = [_sentence(shop.words, rng) for _ in range(N_CACHED_TEXTS)]
    return {
        KNOWN_USER: ({"user_id": user_id, "count": COUNT} for user_id in users),
        AFTER_EVENT: (
            {"user_id": user_id, "count": COUNT, "session": [{"item_id": item_id, "event_type": "view"}]}
            for user_id, item_id in zip(users, _drawn(shop.items, rng), strict=False)
        ),
        "session": ({"session": session, "count": COUNT} for session in itertools.cycle(sessions)),
        TEXT: ({"text": f"{_sentence(shop.words, rng)} {number}", "count": COUNT} for number in itertools.count()),
        TEXT_CACHED: ({"text": text, "count": COUNT} for text in itertools.cycle(cached)),
        "filtered": (
            {"user_id": user_id, "count": COUNT, "filter": {"price": {"max": shop.price}}} for user_id in users
        ),
        "explained": ({"user_id": user_id, "count": COUNT, "explain": True} for user_id in users),
    }


def requests(shop: Shop, seed: int, headers: dict[str, str]) -> dict[str, Iterator[bytes]]:
    """Endless encoded requests by target: to the service, and for `BASELINE` to the other service."""
    of_service = {
        target: _encoded("/v1/recommend", of_target, headers) for target, of_target in bodies(shop, seed).items()
    }
    of_baseline = _encoded("/recommend", bodies(shop, seed)[KNOWN_USER], {})
    no_op = itertools.repeat(request_bytes("GET", "/healthz"))
    return {NO_OP: no_op, **of_service, BASELINE: of_baseline}


def _encoded(path: str, bodies_: Iterator[dict[str, Any]], headers: dict[str, str]) -> Iterator[bytes]:
    return (request_bytes("POST", path, json.dumps(body).encode(), headers) for body in bodies_)


def _drawn(items: list[str], rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield items[rng.integers(len(items))]


def _sentence(words: list[str], rng: np.random.Generator) -> str:
    return " ".join(words[at] for at in rng.integers(len(words), size=TEXT_WORDS))
