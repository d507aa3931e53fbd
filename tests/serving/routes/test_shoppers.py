from collections.abc import Callable
from datetime import timedelta

import pytest
from starlette.testclient import TestClient
from storefronts import NOON, item_entry, text_entry, tiny_recommender, users_with

from features.workspace.api_keys import ApiKey, Scope, digest
from recsys.config import Settings
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.routes.shoppers import some_shoppers
from serving.state import ServiceState
from serving.watch.keys import Keys


def test_a_shopper_is_told_with_the_newest_items_first(client: TestClient) -> None:
    answer = client.get("/v1/shoppers").json()
    assert (answer["n_shoppers"], answer["release_id"]) == (1, "r1")
    (ann,) = answer["shoppers"]
    boot = {"item_id": "boot", "title": None, "category": "Wear > Feet", "event_type": "purchase"}
    assert ann == {"user_id": "ann", "n_items": 1, "recent": [boot]}


def test_shoppers_are_spread_over_those_who_dealt_with_items() -> None:
    at = [NOON + timedelta(days=day) for day in range(4)]
    items = ("kettle", "lamp", "mouse", "teapot")
    long = [item_entry(item, at=when) for item, when in zip(items, at, strict=True)]
    histories = {f"u{i}": [item_entry("kettle")] for i in range(5)} | {"u5": [text_entry(0)], "u6": long}
    recommender = tiny_recommender(users=users_with(histories, texts=tiny_recommender().model.text[:1]))
    sample = some_shoppers(recommender, 3)
    assert [(shopper.user_id, shopper.n_items) for shopper in sample] == [("u0", 1), ("u2", 1), ("u6", 4)]
    assert [item.item_id for item in sample[2].recent] == ["teapot", "mouse", "lamp"]
    assert [shopper.user_id for shopper in some_shoppers(recommender, 100)] == ["u0", "u1", "u2", "u3", "u4", "u6"]


@pytest.mark.parametrize(("scope", "status"), [(Scope.READ, 403), (Scope.WRITE, 403), (Scope.ADMIN, 200)])
def test_only_an_administrators_key_lists_shoppers(
    live: ActiveRelease, keys_of: Callable[..., Keys], scope: Scope, status: int
) -> None:
    key = ApiKey(name="k", sha256=digest(b"secret"), scopes=(scope,), created_at=NOON)
    app = create_app(Settings(), ServiceState(lambda: live, keys=lambda: Keys({key.sha256: key}, are_required=True)))
    response = TestClient(app).get("/v1/shoppers", headers={"X-API-Key": "secret"})
    assert response.status_code == status


def test_a_bad_count_is_named(client: TestClient) -> None:
    assert client.get("/v1/shoppers", params={"count": 1000}).json()["errors"][0]["field"] == "count"
