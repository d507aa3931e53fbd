"""How much each key may ask: requests a second by a token bucket, and requests at once."""

from __future__ import annotations

from dataclasses import dataclass

from features.workspace.api_keys import ApiKey
from recsys import config

BUSY_RETRY_S = 1.0
"""When to come back after too many requests at once: any of them may end at any moment."""


@dataclass
class _Use:
    """What one key has left; `tokens` as of `filled_s`."""

    tokens: float
    filled_s: float
    n_ongoing: int = 0


class RateLimiter:
    """One replica's part of every key's limits.

    Each replica grants its share of a key's rate and of its places, and the proxy spreads requests evenly; so no
    replica asks another, and together they grant a key what it may have, give or take the unevenness.
    A bucket holds what flows into it in a second, and at least one request.
    """

    def __init__(self, settings: config.ServeSettings) -> None:
        self._settings = settings
        self._uses: dict[str, _Use] = {}

    def admit(self, key: ApiKey, now_s: float) -> float:
        """0 where the request may go on, and must be ended by `release`; else the seconds after which to try again.

        now_s: of a clock that never goes back.
        """
        rate = (key.requests_per_s or self._settings.key_requests_per_s) / self._settings.replicas
        capacity = max(1.0, rate)
        use = self._uses.get(key.sha256)
        if use is None:
            use = self._uses[key.sha256] = _Use(capacity, now_s)
        if use.n_ongoing >= self._places(key):
            return BUSY_RETRY_S
        use.tokens = min(capacity, use.tokens + rate * (now_s - use.filled_s))
        use.filled_s = now_s
        if use.tokens < 1.0:
            return (1.0 - use.tokens) / rate
        use.tokens -= 1.0
        use.n_ongoing += 1
        return 0.0

    def release(self, key: ApiKey) -> None:
        """A request that was admitted has been answered."""
        self._uses[key.sha256].n_ongoing -= 1

    def _places(self, key: ApiKey) -> int:
        places = key.max_concurrent or self._settings.key_max_concurrent
        return -(-places // self._settings.replicas)
