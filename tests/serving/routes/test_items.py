from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.live.database import LiveDatabase
from features.live.item_changes import ItemChanges
from recsys.config import Settings
from recsys.errors import StoreError
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.schemas.items import ITEM_BATCH_EXAMPLES, ITEM_EXAMPLES, MAX_ITEMS
from serving.state import ServiceState


@pytest.fixture
def replicas(live: ActiveRelease, live_database: LiveDatabase) -> Iterator[list[TestClient]]:
    """Two of them, on one database."""
    apps = [create_app(Settings(), ServiceState(lambda: live, live_database)) for _ in range(2)]
    with TestClient(apps[0], raise_server_exceptions=False) as first, TestClient(apps[1]) as second:
        yield [first, second]


def shown(client: TestClient, path: str = "/v1/recommend", **request: Any) -> list[str]:
    response = client.post(path, json=request)
    assert response.status_code == 200
    return [item["item_id"] for item in response.json()["items"]]


def test_an_item_that_is_sold_out_leaves_every_replica_at_once_and_comes_back(replicas: list[TestClient]) -> None:
    assert all("lamp" in shown(client, user_id="ann") for client in replicas)
    response = replicas[0].put("/v1/items/lamp", json={"available": False})
    assert (response.status_code, response.json()) == (200, {"item_id": "lamp", "version": 1})
    for client in replicas:
        assert "lamp" not in shown(client, user_id="ann")
        assert "lamp" not in shown(client, text="something for the home")
        assert "lamp" not in shown(client, "/v1/similar", item_id="vase")
    replicas[1].put("/v1/items/lamp", json={"available": True})
    assert all("lamp" in shown(client, user_id="ann") for client in replicas)


def test_what_has_gone_is_in_no_shelf_and_no_pin_brings_it_back(replicas: list[TestClient]) -> None:
    first, second = replicas
    best = first.get("/v1/popular").json()["items"][0]["item_id"]
    first.put(f"/v1/items/{best}", json={"available": False})
    assert best not in [item["item_id"] for item in second.get("/v1/popular").json()["items"]]
    assert best not in shown(second, user_id="zoe", pins=[{"item_id": best, "position": 1}])
    assert best not in shown(second, "/v1/search", text="something for the home")
    batch = second.post("/v1/recommend:batch", json={"requests": [{"user_id": "zoe"}]}).json()
    assert best not in [item["item_id"] for item in batch["results"][0]["slate"]["items"]]


def test_a_deleted_item_leaves_every_replica_at_once(replicas: list[TestClient]) -> None:
    assert replicas[1].delete("/v1/items/lamp").status_code == 200
    assert not any("lamp" in shown(client, user_id="ann") for client in replicas)
    replicas[0].put("/v1/items/lamp", json={"price": 3})
    assert not any("lamp" in shown(client, user_id="ann") for client in replicas)  # a price alone brings nothing back


def test_a_price_hides_nothing_and_fields_are_stored(replicas: list[TestClient], live_database: LiveDatabase) -> None:
    fields = {"title": "Læmp", "price": 3, "attributes": {"b": [1], "a": "ø"}}
    assert replicas[0].put("/v1/items/a%2Fb%20c", json=fields).json()["item_id"] == "a/b c"
    (row,) = ItemChanges(live_database).after(0).to_dicts()
    assert (row["title"], row["price"], row["attributes"]) == ("Læmp", 3.0, '{"a": "ø", "b": [1]}')
    replicas[0].put("/v1/items/lamp", json={"price": 3})
    assert "lamp" in shown(replicas[1], user_id="ann")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, ""),
        ({"price": -1}, "price"),
        ({"price": "NaN"}, "price"),
        ({"available": None}, ""),
        ({"titel": "x"}, "titel"),
        ({"title": "<b> </b>"}, "title"),
        ({"price": "cheap"}, "price"),
        ({"available": "maybe"}, "available"),
        ({"clear": ["available"]}, "clear.0"),
        ({"brand": "Ridge", "clear": ["brand"]}, ""),
        ({"attributes": {"a": "\x00"}}, "attributes"),
        ({"attributes": [1]}, "attributes"),
    ],
)
def test_a_bad_change_is_told_what_is_wrong(replicas: list[TestClient], fields: dict[str, Any], field: str) -> None:
    response = replicas[0].put("/v1/items/lamp", json=fields)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_products_of_a_batch_change_on_every_replica_at_once(
    replicas: list[TestClient], live_database: LiveDatabase
) -> None:
    items = [{"item_id": "lamp", "available": False}, {"item_id": "rug", "price": 3}, {"item_id": "rug", "price": 4}]
    response = replicas[0].put("/v1/items", json={"items": items})
    assert response.status_code == 200
    assert response.json() == {"accepted": 3, "item_ids": ["lamp", "rug", "rug"], "errors": [], "version": 1}
    assert not any("lamp" in shown(client, user_id="ann") for client in replicas)
    assert dict(ItemChanges(live_database).after(0).select("item_id", "price").rows()) == {"lamp": None, "rug": 4.0}


def test_of_a_mixed_batch_the_good_are_stored_and_the_bad_listed(
    replicas: list[TestClient], live_database: LiveDatabase
) -> None:
    items = [
        {"item_id": "boot", "price": 1},
        {"item_id": "boot"},
        {"price": 2},
        "no object",
        {"item_id": "a\x00", "price": -1, "titel": "x"},
        {"item_id": "coat", "title": "Coat"},
    ]
    answer = replicas[0].put("/v1/items", json={"items": items}).json()
    assert (answer["accepted"], answer["item_ids"]) == (2, ["boot", None, None, None, None, "coat"])
    problems = [(error["index"], error["field"]) for error in answer["errors"]]
    assert problems == [(1, ""), (2, "item_id"), (3, ""), (4, "price"), (4, "item_id"), (4, "titel")]
    assert "no changes" in answer["errors"][0]["message"]
    assert ItemChanges(live_database).after(0)["item_id"].to_list() == ["boot", "coat"]


def test_where_no_product_is_good_nothing_is_stored(replicas: list[TestClient], live_database: LiveDatabase) -> None:
    response = replicas[0].put("/v1/items", json={"items": [{"item_id": "boot"}, {"price": 1}]})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["items.0", "items.1.item_id"]
    assert ItemChanges(live_database).version() == 0


@pytest.mark.parametrize("items", [[], [{"item_id": "boot", "price": 1}] * (MAX_ITEMS + 1), 5, None])
def test_a_batch_of_another_shape_is_refused(replicas: list[TestClient], items: Any) -> None:
    response = replicas[0].put("/v1/items", json={"items": items})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "items")


def test_a_thousand_products_are_taken_at_once(replicas: list[TestClient], live_database: LiveDatabase) -> None:
    items = [{"item_id": f"i-{n}", "price": n, **({"title": "x"} if n % 2 else {})} for n in range(MAX_ITEMS)]
    assert replicas[0].put("/v1/items", json={"items": items}).json()["accepted"] == MAX_ITEMS
    assert ItemChanges(live_database).after(0).height == MAX_ITEMS


def test_the_example_of_a_batch_is_taken_whole(replicas: list[TestClient]) -> None:
    for example in ITEM_BATCH_EXAMPLES.values():
        assert replicas[0].put("/v1/items", json=example["value"]).json()["errors"] == []


@pytest.mark.parametrize("kind", ITEM_EXAMPLES)
def test_every_example_is_taken(replicas: list[TestClient], kind: str) -> None:
    assert replicas[0].put("/v1/items/i-1", json=ITEM_EXAMPLES[kind]["value"]).status_code == 200


def test_what_is_not_on_the_disk_is_not_accepted(replicas: list[TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("live.sqlite: the live database cannot be written (disk full)")

    monkeypatch.setattr(ItemChanges, "put", full)
    batch = {"items": [{"item_id": "lamp", "price": 3}]}
    for path, body in (("/v1/items/lamp", {"price": 3}), ("/v1/items", batch)):
        response = replicas[0].put(path, json=body)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert response.json()["type"] == "urn:recsys:problem:item-not-stored"


def test_an_item_stays_away_while_the_database_cannot_be_read(
    replicas: list[TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas[0].put("/v1/items/lamp", json={"available": False})
    assert "lamp" not in shown(replicas[0], user_id="ann")

    def broken(*_: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(ItemChanges, "version", broken)
    assert "lamp" not in shown(replicas[0], user_id="ann")
