from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from recsys.config import Settings
from serving.gate import MAX_BODY_BYTES
from serving.release_watch import Live


@pytest.fixture
def guarded(live: Live, client_of: Callable[..., TestClient]) -> TestClient:
    return client_of(live, Settings.model_validate({"serve": {"api_keys": ["first", " sécond", ""]}}))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer first"},
        {"Authorization": "bearer  first"},
        {"X-API-Key": "first"},
        {"X-API-Key": "sécond".encode()},
    ],
)
def test_a_key_opens(guarded: TestClient, headers: dict[str, str]) -> None:
    assert guarded.post("/v1/recommend", json={"user_id": "ann"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "firs"},
        {"Authorization": "first"},
        {"Authorization": "Basic first"},
        {"Authorization": "Bearer "},
        {"X-Forwarded-For": "127.0.0.1"},
    ],
)
def test_without_a_valid_key_nothing_is_answered(guarded: TestClient, headers: dict[str, str]) -> None:
    for response in (
        guarded.post("/v1/recommend", json={"user_id": "ann"}, headers=headers),
        guarded.post("/v1/similar", content="not even JSON", headers=headers),
        guarded.get("/v1/release", headers=headers),
        guarded.get("/v1/no-such-route", headers=headers),
    ):
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["type"] == "urn:recsys:problem:unauthorized"


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
