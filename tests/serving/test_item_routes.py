from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.item_changes import ItemChanges
from features.live_database import LiveDatabase
from recsys.config import Settings
from recsys.errors import StoreError
from serving.api import create_app
from serving.item_contract import ITEM_EXAMPLES
from serving.release_watch import Live


@pytest.fixture
def replicas(live: Live, live_database: LiveDatabase) -> Iterator[list[TestClient]]:
    """Two of them, on one database."""
    apps = [create_app(lambda: live, Settings(), live_database) for _ in range(2)]
    with TestClient(apps[0], raise_server_exceptions=False) as one, TestClient(apps[1]) as other:
        yield [one, other]


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
    one, other = replicas
    best = one.get("/v1/popular").json()["items"][0]["item_id"]
    one.put(f"/v1/items/{best}", json={"available": False})
    assert best not in [item["item_id"] for item in other.get("/v1/popular").json()["items"]]
    assert best not in shown(other, user_id="zoe", pins=[{"item_id": best, "position": 1}])
    assert best not in shown(other, "/v1/search", text="something for the home")
    batch = other.post("/v1/recommend:batch", json={"requests": [{"user_id": "zoe"}]}).json()
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
        ({"title": "a\x00"}, "title"),
        ({"attributes": {"a": "\x00"}}, ""),
        ({"attributes": [1]}, "attributes"),
    ],
)
def test_a_bad_change_is_told_what_is_wrong(replicas: list[TestClient], fields: dict[str, Any], field: str) -> None:
    response = replicas[0].put("/v1/items/lamp", json=fields)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize("kind", ITEM_EXAMPLES)
def test_every_example_is_taken(replicas: list[TestClient], kind: str) -> None:
    assert replicas[0].put("/v1/items/i-1", json=ITEM_EXAMPLES[kind]["value"]).status_code == 200


def test_what_is_not_on_the_disk_is_not_accepted(replicas: list[TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("live.sqlite: the live database cannot be written (disk full)")

    monkeypatch.setattr(ItemChanges, "put", full)
    response = replicas[0].put("/v1/items/lamp", json={"price": 3})
    assert response.status_code == 503
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
