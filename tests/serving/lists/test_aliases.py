"""A storefront may name items by SKU or variant id, wherever it sends one."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from list_requests import item_ids, recommend
from starlette.testclient import TestClient

from features.live.answer_log import AnswerLog
from features.live.database import LiveDatabase
from features.live.event_log import EventLog, LoggedEvent
from recsys.config import Settings
from serving.api import create_app
from serving.lists.aliases import by_item_id
from serving.releases.active import ActiveRelease
from serving.schemas.list_options import ListRequest
from serving.state import ServiceState

ALIASES = {"SKU-BOOT": "boot", "SKU-SOCK": "sock", "SKU-RUG": "rug", "lamp": "vase"}


@pytest.fixture
def aliased(live: ActiveRelease) -> ActiveRelease:
    """The release with other ids of its items; one of them is an item itself."""
    return replace(live, release=replace(live.release, aliases=ALIASES))


@pytest.fixture
def shop(aliased: ActiveRelease, live_database: LiveDatabase) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), ServiceState(lambda: aliased, live_database))) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "by_alias", "by_item"),
    [
        ("similar", {"item_id": "SKU-RUG", "exclude_ids": ["lamp"]}, {"item_id": "rug", "exclude_ids": ["lamp"]}),
        ("complements", {"item_ids": ["SKU-BOOT"]}, {"item_ids": ["boot"]}),
        ("recommend", {"item_ids": ["SKU-BOOT"]}, {"item_ids": ["boot"]}),
        ("recommend", {"session": [{"item_id": "SKU-BOOT"}]}, {"session": [{"item_id": "boot"}]}),
        ("recommend", {"user_id": "x", "exclude_ids": ["SKU-SOCK"]}, {"user_id": "x", "exclude_ids": ["sock"]}),
        (
            "recommend",
            {"user_id": "x", "pins": [{"item_id": "SKU-RUG", "position": 1}]},
            {"user_id": "x", "pins": [{"item_id": "rug", "position": 1}]},
        ),
        ("search", {"text": "home", "exclude_ids": ["SKU-RUG"]}, {"text": "home", "exclude_ids": ["rug"]}),
    ],
)
def test_an_alias_stands_for_its_item(
    shop: TestClient, path: str, by_alias: dict[str, Any], by_item: dict[str, Any]
) -> None:
    named, meant = (shop.post(f"/v1/{path}", json=request).json() for request in (by_alias, by_item))
    assert item_ids(named) == item_ids(meant) != []
    unknown = {"user_id": "x"} if path == "recommend" else None
    if unknown and "exclude_ids" not in by_alias:
        assert item_ids(named) != item_ids(shop.post(f"/v1/{path}", json=unknown).json())


def test_an_id_of_the_catalogue_is_never_redirected(shop: TestClient) -> None:
    assert "lamp" not in item_ids(shop.post("/v1/similar", json={"item_id": "lamp"}).json())
    assert shop.get("/v1/items/lamp").json()["item_id"] == "lamp"
    assert shop.get("/v1/items/SKU-SOCK").json()["item_id"] == "sock"
    assert shop.post("/v1/similar", json={"item_id": "SKU-NONE"}).status_code == 404


def test_events_are_stored_on_the_item_that_they_mean(shop: TestClient, live_database: LiveDatabase) -> None:
    sent = [{"user_id": "zoe", "event_type": "view", "item_id": name} for name in ("SKU-BOOT", "lamp", "elsewhere")]
    assert shop.post("/v1/events", json={"events": sent}).status_code == 202
    log = EventLog(live_database)
    assert log.batch(0, log.newest(), 10)[0]["item_id"].to_list() == ["boot", "lamp", "elsewhere"]


def test_a_session_sent_both_ways_counts_once_and_is_recorded_by_item(
    aliased: ActiveRelease, live_database: LiveDatabase
) -> None:
    view = {"event_type": "view", "item_id": "SKU-BOOT", "timestamp": "2026-01-02T00:00:00Z"}
    with TestClient(create_app(Settings(), ServiceState(lambda: aliased, live_database))) as shop:
        shop.post("/v1/events", json={"user_id": "zoe", **view})
        answer = recommend(shop, user_id="zoe", session=[view])
    record = AnswerLog(live_database).find(answer["recommendation_id"])
    assert record is not None
    assert [event["item_id"] for event in json.loads(record.content)["request"]["session"]] == ["boot"]


def test_events_of_the_log_from_before_the_alias_was_known_count(
    shop: TestClient, live_database: LiveDatabase, aliased: ActiveRelease
) -> None:
    at = aliased.release.manifest.as_of
    event = LoggedEvent("e1", "zoe", "SKU-BOOT", "view", at, None, None, None, None, None)
    EventLog(live_database).append([event])
    assert item_ids(recommend(shop, user_id="zoe")) == item_ids(recommend(shop, session=[{"item_id": "boot"}]))


def test_a_release_without_aliases_leaves_requests_as_they_are(live: ActiveRelease, aliased: ActiveRelease) -> None:
    request = ListRequest(item_ids=("SKU-BOOT",))
    assert by_item_id(request, live.release) is request
    known = ListRequest(item_ids=("boot",), session=(), exclude_ids=("unknown",))
    assert by_item_id(known, aliased.release) is known


def test_a_service_without_a_release_takes_events_as_they_are(
    live_database: LiveDatabase, client_of: Callable[..., TestClient]
) -> None:
    with TestClient(create_app(Settings(), ServiceState(lambda: None, live_database))) as shop:
        sent = {"user_id": "zoe", "event_type": "view", "item_id": "SKU-BOOT"}
        assert shop.post("/v1/events", json=sent).status_code == 202
    log = EventLog(live_database)
    assert log.batch(0, log.newest(), 10)[0]["item_id"].to_list() == ["SKU-BOOT"]
