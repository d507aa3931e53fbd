"""What `/v1/inspect/…` tells of a shop of six items, whose neighbours are worked out by hand."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from features.item_map.layout import layout_path
from features.live.database import LiveDatabase
from recsys.config import Settings
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.releases.item_map import item_map
from serving.state import ServiceState


def test_an_item_has_its_neighbours_in_each_space_and_their_agreement(client: TestClient) -> None:
    inspected = client.get("/v1/inspect/items/sock").json()
    assert (inspected["item_id"], inspected["n_shoppers"], inspected["release_id"]) == ("sock", 4, "r1")
    by_space = {space["space"]: space for space in inspected["spaces"]}
    assert list(by_space) == ["text", "cf", "fused"]
    near = [(space["item_id"], space["similarity"]) for space in by_space["text"]["neighbours"][:2]]
    assert near == [("coat", 0.8), ("boot", 0.6)]
    assert by_space["text"]["neighbours"][0]["also_in"] == ["cf", "fused"]
    assert {(entry["space"], entry["other_space"]): entry["share"] for entry in inspected["agreement"]} == {
        ("text", "cf"): 1.0,
        ("text", "fused"): 1.0,
        ("cf", "fused"): 1.0,
    }


def test_an_item_without_data_of_a_kind_has_no_neighbours_there(
    live: ActiveRelease, client_of: Callable[..., TestClient]
) -> None:
    live.release.recommender.model.factors.item_factors[4] = 0
    inspected = client_of(live).get("/v1/inspect/items/sock").json()
    of_cf = next(space for space in inspected["spaces"] if space["space"] == "cf")
    assert of_cf == {"space": "cf", "has_vector": False, "neighbours": []}
    assert [(entry["space"], entry["other_space"]) for entry in inspected["agreement"]] == [("text", "fused")]
    beside = client_of(live).get("/v1/inspect/items/boot").json()["spaces"][1]["neighbours"]
    assert "sock" not in [space["item_id"] for space in beside]


def test_a_shopper_is_told_with_history_and_reasons(client: TestClient) -> None:
    inspected = client.get("/v1/inspect/shoppers/ann", params={"count": 2}).json()
    assert (inspected["user_id"], inspected["n_history"], inspected["is_ranked"], inspected["ranker"]) == (
        "ann",
        1,
        False,
        [[], []],
    )
    (bought,) = inspected["history"]
    assert (bought["event_type"], bought["item_id"], bought["weight"]) == ("purchase", "boot", 5.0)
    assert not bought["since_release"]
    first = inspected["items"][0]
    assert first["item_id"] == "sock"
    assert first["reason"]["text"] == "customers who bought boot also bought this"
    assert first["scores"]["linear"] > 0


def test_what_was_done_since_the_release_counts_and_nothing_is_recorded(
    live: ActiveRelease, live_database: LiveDatabase
) -> None:
    app = create_app(Settings(), ServiceState(lambda: live, live_database))
    with TestClient(app) as client:
        event = {"user_id": "new", "event_type": "view", "item_id": "vase", "timestamp": datetime.now(UTC).isoformat()}
        assert client.post("/v1/events", json={"events": [event]}).status_code == 202
        inspected = client.get("/v1/inspect/shoppers/new").json()
        assert [(entry["item_id"], entry["since_release"], entry["weight"]) for entry in inspected["history"]] == [
            ("vase", True, None)
        ]
        assert inspected["fallback"] is None


@pytest.mark.parametrize(
    ("path", "kind", "detail"),
    [
        ("items/bot", "unknown-item", "item 'bot' is not in this release; nearest ids: boot, "),
        ("shoppers/anne", "unknown-shopper", "shopper 'anne' has no history here; nearest ids: ann"),
    ],
)
def test_an_unknown_id_is_told_with_the_nearest(client: TestClient, path: str, kind: str, detail: str) -> None:
    response = client.get(f"/v1/inspect/{path}")
    assert response.status_code == 404
    assert response.json()["type"].endswith(kind)
    assert detail in response.json()["detail"]


def test_an_erased_shopper_is_not_told_of(live: ActiveRelease) -> None:
    class OfAnn:
        def __contains__(self, user_id: object) -> bool:
            return user_id == "ann"

    app = create_app(Settings(), ServiceState(lambda: live, erased_users=OfAnn()))  # type: ignore[arg-type]
    client = TestClient(app)
    assert client.get("/v1/inspect/shoppers/ann").status_code == 404
    matches = client.get("/v1/inspect/find", params={"words": "ann"}).json()
    assert (matches["user_ids"], matches["nearest_user_ids"]) == ([], [])


def test_ids_come_before_words_and_nothing_names_the_nearest(client: TestClient) -> None:
    def find(words: str) -> dict:
        return client.get("/v1/inspect/find", params={"words": words}).json()

    assert [item["item_id"] for item in find("rug")["items"]] == ["rug"]
    assert {item["item_id"] for item in find("Lux")["items"]} == {"lamp", "rug"}
    assert find("an")["user_ids"] == ["ann"]
    nothing = find("zzz")
    assert (nothing["items"], nothing["user_ids"]) == ([], [])
    assert nothing["nearest_item_ids"]
    assert nothing["nearest_user_ids"] == ["ann"]


def test_the_map_is_of_principal_components_until_a_layout_is_kept(
    live: ActiveRelease, client_of: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = client_of(live, atlases=tmp_path)
    item_map = client.get("/v1/inspect/map").json()
    assert (item_map["layout"], len(item_map["item_ids"]), item_map["titles"][:2]) == ("PCA", 6, ["boot", "Coat"])
    assert {grouping["by"] for grouping in item_map["groupings"]} == {"category", "popularity", "cold"}
    by_category = item_map["groupings"][0]
    names = [by_category["groups"][code]["name"] for code in by_category["codes"]]
    assert names == ["Wear", "Wear", "Home", "Home", "Wear", "Home"]
    places = np.linspace(0, 1, 12, dtype=np.float32).reshape(6, 2)
    places[2] = np.nan
    np.save(layout_path(tmp_path, "r1"), places)
    item_map = client.get("/v1/inspect/map").json()
    assert (item_map["layout"], item_map["item_ids"]) == ("t-SNE", ["boot", "coat", "rug", "sock", "vase"])
    assert (item_map["x"][0], item_map["y"][-1]) == (0, 65535)


@pytest.mark.parametrize("content", [b"half a file", b""])
def test_a_layout_that_cannot_be_read_is_none(
    live: ActiveRelease, client_of: Callable[..., TestClient], tmp_path: Path, content: bytes
) -> None:
    layout_path(tmp_path, "r1").write_bytes(content)
    assert client_of(live, atlases=tmp_path).get("/v1/inspect/map").json()["layout"] == "PCA"


def test_items_that_were_added_since_lie_among_their_nearest(live: ActiveRelease) -> None:
    places = np.array([[0.1, 0.1], [0.9, 0.9], [0.5, 0.5], [0.5, 0.5], [0.2, 0.2]])
    mapped = item_map("r1", live.release.recommender, places)
    assert (mapped.layout, mapped.item_ids[-1]) == ("t-SNE", "vase")
    assert 0 <= mapped.x[-1] <= 65535
