from datetime import UTC, datetime

import pytest

from features.workspace.api_keys import ApiKey, Scope
from recsys.config import ServeSettings
from serving.ingress.rate_limit import BUSY_RETRY_S, RateLimiter


def key_of(name: str = "shop", **limits: float) -> ApiKey:
    return ApiKey(name=name, sha256=name, scopes=(Scope.READ,), created_at=datetime(2026, 1, 1, tzinfo=UTC), **limits)


def admitted(limiter: RateLimiter, key: ApiKey, now_s: float) -> bool:
    """Whether one request, answered at once, is let in."""
    if limiter.admit(key, now_s) > 0:
        return False
    limiter.release(key)
    return True


def test_a_second_holds_so_many_requests_and_no_more() -> None:
    limiter, key = RateLimiter(ServeSettings()), key_of(requests_per_s=3)
    assert [admitted(limiter, key, 0.0) for _ in range(5)] == [True, True, True, False, False]


def test_the_wait_is_what_the_next_request_takes_to_flow_in() -> None:
    limiter, key = RateLimiter(ServeSettings()), key_of(requests_per_s=4)
    for _ in range(4):
        assert admitted(limiter, key, 10.0)
    assert limiter.admit(key, 10.0) == pytest.approx(0.25)
    assert admitted(limiter, key, 10.25)
    assert not admitted(limiter, key, 10.25)


def test_a_long_rest_saves_up_a_second_and_no_more() -> None:
    limiter, key = RateLimiter(ServeSettings()), key_of(requests_per_s=2)
    admitted(limiter, key, 0.0)
    assert [admitted(limiter, key, 1000.0) for _ in range(3)] == [True, True, False]


def test_a_rate_below_one_a_second_lets_single_requests_in() -> None:
    limiter, key = RateLimiter(ServeSettings()), key_of(requests_per_s=0.5)
    assert admitted(limiter, key, 0.0)
    assert limiter.admit(key, 0.0) == pytest.approx(2.0)
    assert admitted(limiter, key, 2.0)


def test_requests_at_once_are_bounded_until_one_is_answered() -> None:
    limiter, key = RateLimiter(ServeSettings()), key_of(max_concurrent=2)
    assert limiter.admit(key, 0.0) == 0
    assert limiter.admit(key, 0.0) == 0
    assert limiter.admit(key, 0.0) == BUSY_RETRY_S
    limiter.release(key)
    assert limiter.admit(key, 0.0) == 0


def test_one_keys_use_is_not_anothers() -> None:
    limiter = RateLimiter(ServeSettings())
    assert admitted(limiter, key_of("one", requests_per_s=1), 0.0)
    assert admitted(limiter, key_of("other", requests_per_s=1), 0.0)


def test_replicas_share_a_keys_limits() -> None:
    limiter, key = RateLimiter(ServeSettings(replicas=2)), key_of(requests_per_s=4, max_concurrent=3)
    assert [limiter.admit(key, 0.0) for _ in range(3)] == [0, 0, BUSY_RETRY_S]  # two of three places, rounded up
    limiter.release(key)
    assert limiter.admit(key, 0.0) == pytest.approx(0.5)  # two of four requests a second


def test_a_key_without_limits_of_its_own_has_those_of_the_settings() -> None:
    limiter, key = RateLimiter(ServeSettings(key_requests_per_s=1, key_max_concurrent=1)), key_of()
    assert admitted(limiter, key, 0.0)
    assert not admitted(limiter, key, 0.0)
