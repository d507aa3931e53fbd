"""Calls from browsers of other origins, monitors that send HEAD, and bodies without a JSON type."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from features.live.database import LiveDatabase
from recsys.config import ServeSettings, Settings
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.state import ServiceState

ORIGIN = "https://shop.example"
EVENT = '{"user_id": "ann", "event_type": "view", "item_id": "boot"}'

Connect = Callable[..., TestClient]


@pytest.fixture
def connect(live: ActiveRelease, live_database: LiveDatabase) -> Connect:
    def of(*origins: str) -> TestClient:
        settings = Settings(serve=ServeSettings(cors_origins=origins))
        return TestClient(
            create_app(settings, ServiceState(lambda: live, live_database)), raise_server_exceptions=False
        )

    return of


def preflight(client: TestClient, origin: str = ORIGIN, path: str = "/v1/recommend") -> dict[str, str]:
    preflight_headers = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-api-key",
    }
    response = client.options(path, headers={"origin": origin, **preflight_headers})
    return {"status": str(response.status_code), **response.headers}


def test_a_page_of_an_allowed_origin_may_call_and_others_may_not(connect: Connect) -> None:
    client = connect(ORIGIN)
    allowed = preflight(client)
    assert (allowed["status"], allowed["access-control-allow-origin"]) == ("200", ORIGIN)
    assert "x-api-key" in allowed["access-control-allow-headers"]
    refused = preflight(client, "https://other.example")
    assert (refused["status"], "access-control-allow-origin" in refused) == ("400", False)
    answer = client.post("/v1/recommend", json={"user_id": "ann"}, headers={"origin": ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "origin" in answer.headers["vary"].lower()


def test_no_origin_is_allowed_by_default_and_every_one_by_a_star(connect: Connect) -> None:
    assert preflight(connect())["status"] == "405"
    assert preflight(connect("*"), "https://anyone.example")["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(("path", "status"), [("/v1/recommend", 422), ("/v1/nowhere", 404), ("/v1/similar", 404)])
def test_errors_have_the_headers_too(connect: Connect, path: str, status: int) -> None:
    body = {"item_id": "unheard-of"} if path == "/v1/similar" else {}
    answer = connect(ORIGIN).post(path, json=body, headers={"origin": ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)


def test_a_defect_has_the_headers_too(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(ORIGIN)
    services = client.app.state.services  # type: ignore[attr-defined]
    monkeypatch.setattr(type(services.lists), "serve", lambda *_: 1 / 0)
    answer = client.post("/v1/recommend", json={"user_id": "ann"}, headers={"origin": ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, ORIGIN)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "origin", ["shop.example", "https://shop.example/", "https://shop.example/path", "ftp://a", ""]
)
def test_what_is_no_origin_is_refused_when_settings_are_read(origin: str) -> None:
    with pytest.raises(ValidationError, match="is no origin; write scheme, host and port only"):
        ServeSettings(cors_origins=(origin,))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/demo", "/openapi.json", "/v1/popular", "/docs"])
def test_head_is_answered_wherever_get_is(connect: Connect, path: str) -> None:
    client = connect()
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_what_has_no_get_is_refused(connect: Connect) -> None:
    assert connect().head("/v1/recommend").status_code == 405


@pytest.mark.parametrize("kind", ["text/plain", "text/plain;charset=UTF-8", "application/json", None])
def test_events_may_be_sent_as_a_beacon(connect: Connect, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert connect().post("/v1/events", content=EVENT, headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/recommend", "text/plain"), ("/v1/events", "application/x-www-form-urlencoded"), ("/v1/items", "text/xml")],
)
def test_another_type_is_refused_with_the_remedy(connect: Connect, path: str, kind: str) -> None:
    method = "PUT" if path == "/v1/items" else "POST"
    answer = connect().request(method, path, content=EVENT, headers={"content-type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json")
    assert "with the header content-type: application/json" in answer.json()["detail"]


def test_a_body_without_a_type_is_read_as_json(connect: Connect) -> None:
    assert connect().post("/v1/recommend", content='{"user_id": "ann"}').status_code == 200


def test_an_origin_is_compared_as_browsers_send_it() -> None:
    origins = ("https://Shop.example", "https://shop.example:443", "http://localhost:80", "http://localhost:3000")
    assert ServeSettings(cors_origins=origins).cors_origins == (
        *("https://shop.example", "https://shop.example"),
        *("http://localhost", "http://localhost:3000"),
    )


@pytest.mark.parametrize("prefix", ["", "/shop/recommend"])  # the proxy strips its path, or it does not
def test_below_a_path_of_a_proxy_pages_api_and_description_follow(
    live: ActiveRelease, live_database: LiveDatabase, prefix: str
) -> None:
    settings = Settings(serve=ServeSettings(root_path="/shop/recommend"))
    client = TestClient(create_app(settings, ServiceState(lambda: live, live_database)))
    assert client.post(f"{prefix}/v1/recommend", json={"user_id": "ann"}).status_code == 200
    for page in ("/demo", "/ops", "/inspect", "/web/js/api.js", "/healthz"):
        assert client.get(f"{prefix}{page}").status_code == 200
    assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/shop/recommend"}]
    moved = client.get(f"{prefix}/demo/", follow_redirects=False)
    assert moved.headers["location"].endswith("/shop/recommend/demo")
    assert client.get("/shop/recommendations").status_code == 404


@pytest.mark.parametrize("path", ["shop", "/shop/", "/", "/a b", "https://x/shop"])
def test_what_is_no_root_path_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="is no root path"):
        ServeSettings(root_path=path)
