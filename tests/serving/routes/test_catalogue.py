from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from features.live.database import LiveDatabase
from recsys.config import Settings
from recsys.properties import Coded
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.routes.catalogue import categories_of
from serving.state import ServiceState


@pytest.fixture
def client_with_items(live: ActiveRelease, live_database: LiveDatabase) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), ServiceState(lambda: live, live_database))) as client:
        yield client


def test_an_item_is_told_with_what_its_buyers_wrote(client: TestClient) -> None:
    answer = client.get("/v1/items/sock").json()
    assert answer["item_id"] == "sock"
    assert answer["release_id"] == "r1"
    properties = answer["properties"]
    assert (properties["title"], properties["price"], properties["available"]) == ("Sock", 5.0, True)
    assert properties["attributes"] == {"colour": ["grey", "blue"]}
    assert [(quote["review_id"], quote["text"], quote["stars"]) for quote in answer["quotes"]] == [
        ("r1", "Warm in my shoes.", 5.0),
        ("r2", "Goes with all my clothes.", 4.0),
    ]


def test_an_unknown_item_is_named_with_near_ones(client: TestClient) -> None:
    response = client.get("/v1/items/sofa/blue")
    assert response.status_code == 404
    assert "'sofa/blue'" in response.json()["detail"]
    assert "sock" in response.json()["detail"]


def test_a_sold_out_item_is_told_as_such_and_counts_in_no_category(client_with_items: TestClient) -> None:
    def shown() -> dict[str, int]:
        answer = client_with_items.get("/v1/categories").json()
        return {each["path"]: each["n_items"] for each in answer["categories"]}

    assert shown() == {"Home": 3, "Home > Light": 1, "Wear": 3, "Wear > Feet": 2}
    client_with_items.put("/v1/items/lamp", json={"available": False})
    assert client_with_items.get("/v1/items/lamp").json()["properties"]["available"] is False
    assert shown() == {"Home": 2, "Wear": 3, "Wear > Feet": 2}


def test_categories_come_with_their_place_in_the_tree(client: TestClient) -> None:
    (first, second, *_) = client.get("/v1/categories").json()["categories"]
    assert first == {"path": "Home", "name": "Home", "depth": 1, "n_items": 3}
    assert second == {"path": "Home > Light", "name": "Light", "depth": 2, "n_items": 1}


def test_items_without_a_category_count_nowhere_and_spaces_make_no_second_category() -> None:
    category = Coded.of(pl.Series(["A>b", "A > b", None, "A"]))
    listed = categories_of(category, np.ones(4, dtype=bool))
    assert [(each.path, each.n_items) for each in listed] == [("A", 3), ("A > b", 2)]


def test_similar_items_tell_their_properties_where_asked(client: TestClient) -> None:
    (best,) = client.post("/v1/similar", json={"item_id": "vase", "count": 1, "return_properties": True}).json()[
        "items"
    ]
    assert best["properties"]["category"].startswith("Home")
    (plain,) = client.post("/v1/similar", json={"item_id": "vase", "count": 1}).json()["items"]
    assert "properties" not in plain
