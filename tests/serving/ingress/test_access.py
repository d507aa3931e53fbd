import asyncio
from collections.abc import Callable, Iterator

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from features.workspace.api_keys import Scope as KeyScope
from recsys import config
from serving.ingress.access import MAX_BODY_BYTES, AccessControl
from serving.ingress.scopes import ROUTE, Route
from serving.releases.active import ActiveRelease
from serving.watch.keys import NO_KEYS, Keys

READS = {"POST": KeyScope.READ}
ASK = {"user_id": "ann"}


@pytest.fixture
def guarded(live: ActiveRelease, client_of: Callable[..., TestClient], keys_of: Callable[..., Keys]) -> TestClient:
    return client_of(live, keys=keys_of)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer reader"},
        {"Authorization": "bearer  reader"},
        {"X-API-Key": "reader"},
        {"X-API-Key": "both"},
        {"X-API-Key": "sécond".encode()},
    ],
)
def test_a_key_opens(guarded: TestClient, headers: dict[str, str]) -> None:
    assert guarded.post("/v1/recommend", json=ASK, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "reade"},
        {"X-API-Key": "revoked"},
        {"X-API-Key": "expired"},
        {"Authorization": "reader"},
        {"Authorization": "Basic reader"},
        {"Authorization": "Bearer "},
        {"X-Forwarded-For": "127.0.0.1"},
    ],
)
def test_without_a_valid_key_nothing_is_answered(guarded: TestClient, headers: dict[str, str]) -> None:
    for response in (
        guarded.post("/v1/recommend", json=ASK, headers=headers),
        guarded.post("/v1/similar", content="not even JSON", headers=headers),
        guarded.get("/v1/release", headers=headers),
        guarded.get("/v1/no-such-route", headers=headers),
        guarded.get("/metrics", headers=headers),
    ):
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["type"] == "urn:recsys:problem:unauthorized"


def test_a_key_without_the_routes_scope_is_told_which_it_needs(guarded: TestClient) -> None:
    response = guarded.post("/v1/recommend", json=ASK, headers={"X-API-Key": "writer"})
    assert response.status_code == 403
    assert "needs a key with the scope 'read', and 'writer' has write" in response.json()["detail"]


def test_what_no_route_declares_is_not_passed_on(guarded: TestClient) -> None:
    response = guarded.get("/v1/no-such-route", headers={"X-API-Key": "reader"})
    assert response.status_code == 404
    assert "no such route" in response.json()["detail"]


def test_past_its_rate_a_key_gets_429_with_the_time_to_wait(
    live: ActiveRelease, client_of: Callable[..., TestClient], keys_of: Callable[..., Keys]
) -> None:
    client = client_of(live, keys=lambda: keys_of(requests_per_s=0.01))
    headers = {"X-API-Key": "reader"}
    assert client.post("/v1/recommend", json=ASK, headers=headers).status_code == 200
    response = client.post("/v1/recommend", json=ASK, headers=headers)
    assert response.status_code == 429
    assert response.headers["content-type"] == "application/problem+json"
    retry_after_s = int(response.headers["retry-after"])
    assert 90 <= retry_after_s <= 100
    detail = response.json()["detail"]
    assert detail.startswith("rate limit exceeded for API key 'reader'")
    assert detail.endswith(f"retry after {retry_after_s} s")
    assert client.post("/v1/recommend", json=ASK, headers={"X-API-Key": "both"}).status_code == 200


def test_places_come_back_when_requests_end_however_they_end(
    live: ActiveRelease, client_of: Callable[..., TestClient], keys_of: Callable[..., Keys]
) -> None:
    client = client_of(live, keys=lambda: keys_of(max_concurrent=1))
    for body in (ASK, {}, ASK, {"kount": 1}, ASK):
        expected = 200 if body == ASK else 422
        assert client.post("/v1/recommend", json=body, headers={"X-API-Key": "reader"}).status_code == expected


def test_health_needs_no_key(guarded: TestClient) -> None:
    assert guarded.get("/healthz").status_code == 200
    assert guarded.get("/readyz").status_code == 200


def test_without_keys_the_service_is_open(client: TestClient) -> None:
    assert client.get("/v1/release").status_code == 200


def test_a_body_that_announces_too_much_is_refused(client: TestClient) -> None:
    response = client.post("/v1/recommend", content=b"x" * (MAX_BODY_BYTES + 1))
    assert response.status_code == 413
    assert str(MAX_BODY_BYTES) in response.json()["detail"]


def test_a_body_that_goes_on_and_on_is_cut_off(client: TestClient) -> None:
    sent = []

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            sent.append(1)
            yield b" " * 2**20

    response = client.post("/v1/recommend", content=chunks())
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


class Held:
    """Routes that answer when they are let: requests by the path that they ask."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.n_inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.n_inside += 1
        await self.let.wait()
        await PlainTextResponse("done")(scope, receive, send)


async def answer_of(
    gate: AccessControl, path: str, method: str, scopes: dict[str, KeyScope]
) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers."""
    started: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        started.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], ROUTE: Route(path, scopes)}
    await gate(scope, receive, send)
    return started[0]["status"], dict(started[0]["headers"])


def test_a_list_too_many_is_refused_at_once_and_events_are_not() -> None:
    async def scenario() -> None:
        held = Held()
        gate = AccessControl(held, lambda: NO_KEYS, config.ServeSettings(max_concurrent_lists=2))
        lists = [asyncio.create_task(answer_of(gate, "/v1/recommend", "POST", READS)) for _ in range(2)]
        await asyncio.sleep(0)
        status, headers = await answer_of(gate, "/v1/recommend", "POST", READS)
        assert (status, headers[b"retry-after"]) == (429, b"1")
        assert headers[b"content-type"] == b"application/problem+json"
        events = asyncio.create_task(answer_of(gate, "/v1/events", "POST", {"POST": KeyScope.WRITE}))
        health = asyncio.create_task(answer_of(gate, "/healthz", "GET", {}))
        await asyncio.sleep(0)
        assert held.n_inside == 4
        held.let.set()
        assert [(await task)[0] for task in (*lists, events, health)] == [200] * 4
        assert (await answer_of(gate, "/v1/recommend", "POST", READS))[0] == 200

    asyncio.run(scenario())
