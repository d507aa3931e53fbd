"""The largest requests that are answered, and the first that are refused: nothing that is sent may take the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.live.database import LiveDatabase
from features.live.event_log import EventLog, LoggedEvent
from recsys.config import Settings
from recsys.query import Query
from serving.api import create_app
from serving.ingress.access import MAX_BODY_BYTES
from serving.releases.active import ActiveRelease
from serving.schemas.items import MAX_ATTRIBUTE_DEPTH, MAX_ATTRIBUTES_CHARS, MAX_DESCRIPTION_CHARS
from serving.schemas.list_options import MAX_CONDITIONS, MAX_DEPTH
from serving.schemas.lists import MAX_EXCLUDE_IDS, MAX_ITEM_IDS, MAX_SESSION_EVENTS, MAX_TEXT_CHARS
from serving.state import ServiceState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LISTS = {
    "/v1/recommend": {"user_id": "ann"},
    "/v1/search": {"text": "shoes"},
    "/v1/similar": {"item_id": "boot"},
    "/v1/complements": {"item_ids": ["boot"]},
}
FILTERED = ("/v1/recommend", "/v1/search", "/v1/complements")


@pytest.fixture
def shop(live: ActiveRelease, live_database: LiveDatabase) -> Iterator[TestClient]:
    """The service with a live database."""
    with TestClient(
        create_app(Settings(), ServiceState(lambda: live, live_database)), raise_server_exceptions=False
    ) as client:
        yield client


def nested(depth: int, inner: Any) -> dict[str, Any]:
    """So many objects within each other, the last around `inner`."""
    for _ in range(depth):
        inner = {"not": inner}
    wrapped: dict[str, Any] = inner
    return wrapped


def test_of_a_shopper_with_ten_thousand_events_a_list_reads_the_last_hundred(
    live: ActiveRelease, shop: TestClient, live_database: LiveDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender, queries_seen = live.release.recommender, []
    recommend = recommender.recommend

    def noted(queries: list[Query]) -> Any:
        queries_seen.extend(queries)
        return recommend(queries)

    monkeypatch.setattr(recommender, "recommend", noted)
    EventLog(live_database).append(
        [
            LoggedEvent(f"e{number}", "zoe", "boot", "view", NOON + timedelta(seconds=number), text=f"page {number}")
            for number in range(10_000)
        ]
    )
    answer = shop.post("/v1/recommend", json={"user_id": "zoe"})
    assert (answer.status_code, answer.json()["fallback"]) == (200, None)
    (query,) = queries_seen
    assert [signal.text for signal in query.session] == [f"page {number}" for number in range(9_900, 10_000)]
    n_read = sum(signal.text_vector is not None for signal in query.session)
    assert n_read == Settings().embed.max_browsing_texts


def test_a_request_that_is_as_large_as_can_be_is_answered(shop: TestClient) -> None:
    request = {
        "user_id": "u" * 512,
        "session": [{"text": f"{n} shoes".ljust(MAX_TEXT_CHARS, "x")} for n in range(MAX_SESSION_EVENTS)],
        "item_ids": ["boot"] * MAX_ITEM_IDS,
        "exclude_ids": [f"i-{n}" for n in range(MAX_EXCLUDE_IDS)],
        "text": "shoes".ljust(MAX_TEXT_CHARS, "x"),
        "count": 1_000,
        "filter": {"or": [{"category": ["Wear", "Home"]}] * MAX_CONDITIONS},
        "explain": True,
        "return_properties": True,
    }
    answer = shop.post("/v1/recommend", json=request)
    assert answer.status_code == 200
    assert answer.json()["items"]


@pytest.mark.parametrize("path", LISTS)
def test_a_list_has_a_thousand_places_at_most(shop: TestClient, path: str) -> None:
    assert shop.post(path, json=LISTS[path] | {"count": 1_000}).status_code == 200
    refused = shop.post(path, json=LISTS[path] | {"count": 1_001})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "count"


def test_so_has_a_list_of_what_sells_and_one_of_a_batch(shop: TestClient) -> None:
    assert [shop.get(f"/v1/popular?count={count}").status_code for count in (1_000, 1_001, 10**30)] == [200, 422, 422]
    requests = [{"user_id": "ann", "count": count} for count in (1_000, 1_001)]
    long, too_long = shop.post("/v1/recommend:batch", json={"requests": requests}).json()["results"]
    assert long["slate"]["items"]
    assert too_long["problem"]["errors"][0]["field"] == "count"


@pytest.mark.parametrize("path", FILTERED)
@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"and": [{"brand": "Lux"}] * MAX_CONDITIONS}, 200),
        ({"and": [{"brand": "Lux"}] * (MAX_CONDITIONS + 1)}, 422),
        ({"and": [{"or": [{"brand": "Lux"}] * 10}] * 5}, 200),
        ({"and": [{"or": [{"brand": "Lux"}] * 10}] * 5, "brand": "Lux"}, 422),
        ({"attributes": {f"a{n}": 1 for n in range(MAX_CONDITIONS)}}, 200),
        ({"attributes": {f"a{n}": 1 for n in range(MAX_CONDITIONS)}, "available": True}, 422),
        (nested(MAX_DEPTH - 1, {"brand": "Lux"}), 200),
        (nested(MAX_DEPTH, {"brand": "Lux"}), 422),
        (nested(800, {"brand": "Lux"}), 422),
    ],
)
def test_filters_have_fifty_conditions_and_six_levels_at_most(
    shop: TestClient, path: str, conditions: dict[str, Any], status: int
) -> None:
    answer = shop.post(path, json=LISTS[path] | {"filter": conditions})
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["errors"][0]["field"] == "filter"


def test_a_filter_that_is_too_deep_fails_alone_in_a_batch(shop: TestClient) -> None:
    requests = [{"user_id": "ann", "filter": nested(800, {"brand": "Lux"})}, {"user_id": "ann"}]
    deep, good = shop.post("/v1/recommend:batch", json={"requests": requests}).json()["results"]
    assert deep["problem"]["errors"][0]["field"] == "filter"
    assert good["slate"]["items"]


@pytest.mark.parametrize("path", ["/v1/items/lamp", "/v1/items"])
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"description": "x" * MAX_DESCRIPTION_CHARS}, None),
        ({"description": "x" * 1_000_000}, "description"),
        ({"attributes": {"a": "x" * (MAX_ATTRIBUTES_CHARS - 9)}}, None),  # the quotes, braces, colon and space
        ({"attributes": {"a": "x" * (MAX_ATTRIBUTES_CHARS - 8)}}, "attributes"),
        ({"attributes": nested(MAX_ATTRIBUTE_DEPTH - 1, {"a": [1]})}, "attributes"),
        ({"attributes": nested(MAX_ATTRIBUTE_DEPTH - 2, {"a": [1]})}, None),
        ({"attributes": nested(800, 1)}, "attributes"),
    ],
)
def test_a_products_texts_are_bounded(shop: TestClient, path: str, fields: dict[str, Any], field: str | None) -> None:
    body = fields if path.endswith("lamp") else {"items": [{"item_id": "lamp", **fields}]}
    answer = shop.put(path, json=body)
    assert answer.status_code == (200 if field is None else 422)
    if field is not None:
        assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "attributes", [r'{"a": "\ud800"}', r'{"\ud800": 1}', '{"a": NaN}', '{"a": [1e999]}', r'{"a": "\u0000"}']
)
def test_attributes_that_no_reader_could_read_are_refused(shop: TestClient, attributes: str) -> None:
    headers = {"content-type": "application/json"}
    answer = shop.put("/v1/items/lamp", content=f'{{"attributes": {attributes}}}', headers=headers)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["attributes"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in (*LISTS, "/v1/recommend:batch", "/v1/events")),
        ("PUT", "/v1/items"),
        ("PUT", "/v1/items/lamp"),
    ],
)
def test_a_body_over_the_limit_is_refused_everywhere(shop: TestClient, method: str, path: str) -> None:
    headers = {"content-type": "application/json"}
    largest = json.dumps({"x": ""}).ljust(MAX_BODY_BYTES)
    assert shop.request(method, path, content=largest, headers=headers).status_code == 422
    assert shop.request(method, path, content=largest + " ", headers=headers).status_code == 413


@pytest.mark.parametrize("depth", [2_000, 100_000])
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/events"), ("PUT", "/v1/items"), ("PUT", "/v1/items/lamp")])
def test_a_body_of_endless_nesting_is_no_json(shop: TestClient, method: str, path: str, depth: int) -> None:
    body = '{"a": ' * depth + "1" + "}" * depth
    assert shop.request(method, path, content=body, headers={"content-type": "application/json"}).status_code == 400
