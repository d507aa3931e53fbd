"""`POST /v1/users/{user_id}:merge`: the events of a guest belong to the shopper who logged in."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from features.live.database import LiveDatabase
from features.live.event_log import EventLog
from features.live.user_merges import UserMerges
from recsys.config import Settings
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.state import ServiceState
from serving.watch.keys import Keys
from serving.watch.user_ids import UserIdsWatch
from serving.watch.user_merges import UserMergesWatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop(live: ActiveRelease, live_database: LiveDatabase) -> Iterator[TestClient]:
    watch = UserIdsWatch(merges=UserMergesWatch(UserMerges(live_database)))
    with TestClient(create_app(Settings(), ServiceState(lambda: live, live_database, user_ids=watch))) as client:
        yield client


def event(client: TestClient, user_id: str, item_id: str, event_type: str = "purchase") -> None:
    body = {"user_id": user_id, "item_id": item_id, "event_type": event_type}
    assert client.post("/v1/events", json=body).status_code == 202


def merge(client: TestClient, into: str, *user_ids: str) -> dict[str, object]:
    answer = client.post(f"/v1/users/{into}:merge", json={"user_ids": user_ids})
    assert answer.status_code == 200, answer.text
    joined: dict[str, object] = answer.json()
    return joined


def listed(client: TestClient, user_id: str) -> list[str]:
    items = client.post("/v1/recommend", json={"user_id": user_id, "count": 6}).json()["items"]
    return [item["item_id"] for item in items]


def test_what_the_guest_bought_a_moment_ago_is_not_offered_after_the_login(shop: TestClient) -> None:
    event(shop, "cookie-77", "rug")
    assert "rug" in listed(shop, "customer-5")
    assert merge(shop, "customer-5", "cookie-77") == {"user_id": "customer-5", "n_events": 1}
    assert "rug" not in listed(shop, "customer-5")
    assert "rug" not in listed(shop, "cookie-77")  # the page still has the cookie


def test_later_events_under_the_joined_id_are_the_shoppers(shop: TestClient, live_database: LiveDatabase) -> None:
    merge(shop, "customer-5", "cookie-77")
    event(shop, "cookie-77", "vase")
    log = EventLog(live_database)
    assert log.batch(0, log.newest(), 10)[0]["user_id"].to_list() == ["customer-5"]
    assert "vase" not in listed(shop, "customer-5")


def test_ids_with_slashes_and_ids_that_were_joined_before(shop: TestClient, live_database: LiveDatabase) -> None:
    assert merge(shop, "a/b", "c1")["user_id"] == "a/b"
    assert merge(shop, "c1", "c2")["user_id"] == "a/b"
    assert merge(shop, "new", "a/b")["user_id"] == "new"
    assert dict(UserMerges(live_database).all()) == {"c1": "new", "c2": "new", "a/b": "new"}
    assert merge(shop, "new", "new", "c1") == {"user_id": "new", "n_events": 0}


@pytest.mark.parametrize("body", [{}, {"user_ids": []}, {"user_ids": ["null"]}, {"user_ids": "cookie-77"}])
def test_a_bad_request_is_told_what_is_wrong(shop: TestClient, body: dict[str, object]) -> None:
    answer = shop.post("/v1/users/customer-5:merge", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_an_erased_shopper_is_not_joined(shop: TestClient) -> None:
    assert shop.delete("/v1/users/cookie-77").status_code == 202
    answer = shop.post("/v1/users/customer-5:merge", json={"user_ids": ["cookie-77"]})
    assert (answer.status_code, "was erased" in answer.json()["detail"]) == (422, True)


def test_neither_joining_nor_erasing_is_open_to_a_key_that_may_only_read(
    live: ActiveRelease, live_database: LiveDatabase, keys_of: Callable[..., Keys]
) -> None:
    keys = keys_of()
    app = create_app(Settings(), ServiceState(lambda: live, live_database, keys=lambda: keys))
    with TestClient(app, headers={"Authorization": "Bearer reader"}) as client:
        for path in ("/v1/users/a:merge", "/v1/users/a/b:merge"):
            assert client.post(path, json={"user_ids": ["b"]}).status_code == 403
            assert client.delete(path).status_code == 403  # an id may end like that
