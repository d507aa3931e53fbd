"""Keys that stand in the source of a page: what they may do, for whom, and how often."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from features.live.database import LiveDatabase
from features.live.event_log import EventLog
from features.workspace.api_keys import ApiKey, Scope, digest
from recsys.config import ServeSettings, Settings
from serving.api import create_app
from serving.ingress.browser_keys import address_of
from serving.releases.active import ActiveRelease
from serving.state import ServiceState
from serving.watch.keys import Keys

VISITOR = "visitor-3f2a9c14-77aa-4c0e-9d3b-0f6d2b1c8a55"
HEADERS = {"Authorization": "Bearer page"}

Connect = Callable[..., TestClient]


@pytest.fixture
def connect(live: ActiveRelease, live_database: LiveDatabase) -> Connect:
    def of(**serve: float) -> TestClient:
        scopes = {"page": (Scope.BROWSER,), "shop": (Scope.READ, Scope.WRITE)}
        keys = [
            ApiKey(name=name, sha256=digest(name.encode()), scopes=given, created_at=datetime(2026, 1, 1, tzinfo=UTC))
            for name, given in scopes.items()
        ]
        known = Keys({key.sha256: key for key in keys}, are_required=True)
        settings = Settings(serve=ServeSettings(**{"browser_requests_per_s": 1000, **serve}))
        return TestClient(create_app(settings, ServiceState(lambda: live, live_database, keys=lambda: known)))

    return of


def view(user_id: str | None = VISITOR) -> dict[str, object]:
    return {"user_id": user_id, "event_type": "view", "item_id": "boot"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/events", view()),
        ("POST", "/v1/recommend", {"user_id": VISITOR}),
        ("POST", "/v1/recommend", {"session": [{"item_id": "boot"}]}),
        ("POST", "/v1/search", {"text": "boot", "user_id": VISITOR}),
        ("POST", "/v1/similar", {"item_id": "boot"}),
        ("GET", "/v1/popular", None),
    ],
)
def test_a_page_may_send_events_and_ask_for_lists(connect: Connect, method: str, path: str, body: object) -> None:
    assert connect().request(method, path, json=body, headers=HEADERS).status_code in (200, 202)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("PUT", "/v1/items/boot"), ("DELETE", "/v1/items/boot"), ("DELETE", f"/v1/users/{VISITOR}")),
        *(("POST", f"/v1/users/{VISITOR}:merge"), ("POST", "/v1/recommend:batch"), ("GET", "/v1/inspect/items/boot")),
        *(("GET", "/v1/shoppers"), ("GET", "/v1/explain/x"), ("GET", "/v1/experiments"), ("GET", "/v1/release")),
        ("GET", "/metrics"),
    ],
)
def test_nothing_else_is_open_to_a_page(connect: Connect, method: str, path: str) -> None:
    assert connect().request(method, path, json={}, headers=HEADERS).status_code == 403


@pytest.mark.parametrize("user_id", ["ann", "visitor-1", "visitor-" + "a" * 19, "VISITOR-" + "a" * 30, f"x{VISITOR}"])
def test_no_id_that_could_be_guessed_may_be_named(connect: Connect, live_database: LiveDatabase, user_id: str) -> None:
    client = connect()
    for path in ("/v1/recommend", "/v1/search"):
        refused = client.post(path, json={"user_id": user_id, "text": "boot"}, headers=HEADERS)
        assert (refused.status_code, "may name visitors only" in refused.json()["detail"]) == (403, True)
    answer = client.post("/v1/events", json={"events": [view(), view(user_id)]}, headers=HEADERS).json()
    assert (answer["accepted"], answer["errors"][0]["field"]) == (1, "user_id")
    log = EventLog(live_database)
    assert log.batch(0, log.newest(), 10)[0]["user_id"].to_list() == [VISITOR]


def test_a_beacon_may_have_the_key_of_a_page_in_its_address_but_no_other(connect: Connect) -> None:
    client = connect()
    typed = {"content-type": "text/plain;charset=UTF-8"}
    assert client.post("/v1/events?key=page", content=json.dumps(view()), headers=typed).status_code == 202
    for secret in ("shop", "unheard-of", ""):
        assert client.post(f"/v1/events?key={secret}", content=json.dumps(view()), headers=typed).status_code == 401


def test_other_keys_may_name_everybody(connect: Connect) -> None:
    shop = {"Authorization": "Bearer shop"}
    assert connect().post("/v1/recommend", json={"user_id": "ann"}, headers=shop).status_code == 200


def test_each_address_has_a_rate_of_its_own(connect: Connect) -> None:
    client = connect(browser_requests_per_s=1)
    headers = {**HEADERS, "x-recsys-source": "192.0.2.1"}
    statuses = [client.get("/v1/popular", headers=headers).status_code for _ in range(6)]
    assert statuses[:4] == [200] * 4
    assert statuses[-1] == 429
    assert client.get("/v1/popular", headers={**HEADERS, "x-recsys-source": "192.0.2.2"}).status_code == 200
    assert client.get("/v1/popular", headers={"Authorization": "Bearer shop", **headers}).status_code == 429
    assert client.get("/v1/popular", headers={**headers, "Authorization": "Bearer shop"}).status_code == 200


def test_the_address_is_what_the_outermost_trusted_proxy_saw() -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.9, 192.0.2.7"), (b"x-recsys-source", b"198.51.100.1")]
    scope = {"type": "http", "headers": headers, "client": ("127.0.0.1", 5)}
    assert address_of(scope, ServeSettings()) == "198.51.100.1"
    assert address_of(scope, ServeSettings(trusted_proxies=1)) == "192.0.2.7"
    assert address_of(scope, ServeSettings(trusted_proxies=2)) == "203.0.113.9"
    assert address_of(scope, ServeSettings(haproxy=False)) == "127.0.0.1"
