"""Limits of each API key: requests per second (a token bucket), and concurrent requests."""

from __future__ import annotations

from dataclasses import dataclass

from features.workspace.api_keys import ApiKey
from recsys import config

ADDRESS_BURST_S = 4.0
"""A page sends several requests at once as it opens."""

MAX_ADDRESSES = 50_000
"""Addresses that are remembered, of about 200 bytes each."""

BUSY_RETRY_S = 1.0
"""Retry-After at the limit of concurrent requests: one of them may end at any moment."""


@dataclass
class _Usage:
    """The tokens that a key has left, as of `filled_s`, and its concurrent requests."""

    tokens: float
    filled_s: float
    n_ongoing: int = 0


class RateLimiter:
    """The limits of every key, as far as one replica enforces them.

    Each replica grants its share of a key's rate and concurrency, and the proxy spreads requests evenly. So replicas
    need not communicate, and together they enforce the limit as closely as the requests are spread evenly.
    A bucket holds one second's tokens, and at least one. A key that many may use has a bucket for each address as well.
    """

    def __init__(self, settings: config.ServeSettings) -> None:
        self._settings = settings
        self._usages: dict[str, _Usage] = {}
        self._addresses: dict[str, _Usage] = {}

    def admit(self, key: ApiKey, now_s: float, address: str = "") -> float:
        """Seconds to wait before the next attempt; 0: the request is admitted, and `release` must follow when it ends.

        now_s: of a monotonic clock; address: of the caller, where the key's limit is not the only one.
        """
        if address and (wait_s := self._wait_of_address(address, now_s)):
            return wait_s
        rate = (key.requests_per_s or self._settings.key_requests_per_s) / self._settings.replicas
        capacity = max(1.0, rate)
        usage = self._usages.get(key.sha256)
        if usage is None:
            usage = self._usages[key.sha256] = _Usage(capacity, now_s)
        if usage.n_ongoing >= self._max_concurrent(key):
            return BUSY_RETRY_S
        usage.tokens = min(capacity, usage.tokens + rate * (now_s - usage.filled_s))
        usage.filled_s = now_s
        if usage.tokens < 1.0:
            return (1.0 - usage.tokens) / rate
        usage.tokens -= 1.0
        usage.n_ongoing += 1
        return 0.0

    def _wait_of_address(self, address: str, now_s: float) -> float:
        rate = self._settings.browser_requests_per_s / self._settings.replicas
        capacity = max(1.0, ADDRESS_BURST_S * rate)
        usage = self._addresses.pop(address, None) or _Usage(capacity, now_s)
        self._addresses[address] = usage  # the address that was idle longest is first
        if len(self._addresses) > MAX_ADDRESSES:
            del self._addresses[next(iter(self._addresses))]
        usage.tokens = min(capacity, usage.tokens + rate * (now_s - usage.filled_s))
        usage.filled_s = now_s
        if usage.tokens < 1.0:
            return (1.0 - usage.tokens) / rate
        usage.tokens -= 1.0
        return 0.0

    def release(self, key: ApiKey) -> None:
        """Call when an admitted request has been answered."""
        self._usages[key.sha256].n_ongoing -= 1

    def _max_concurrent(self, key: ApiKey) -> int:
        """This replica's share, rounded up."""
        limit = key.max_concurrent or self._settings.key_max_concurrent
        return -(-limit // self._settings.replicas)
