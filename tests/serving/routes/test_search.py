from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.routes.search import SEARCH_EXAMPLES


def search(client: TestClient, **request: Any) -> list[dict[str, Any]]:
    response = client.post("/v1/search", json=request)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def test_a_title_is_found_by_a_word_that_the_encoder_does_not_know(client: TestClient) -> None:
    first = search(client, text="vase", explain=True)[0]
    assert (first["item_id"], first["source"]) == ("vase", "title")
    assert first["reason"]["text"] == "matches 'vase'"
    assert first["scores"]["title"] == 2.0  # the whole of `title_weight`


def test_a_meaning_is_found_without_a_word_of_the_title(client: TestClient) -> None:
    assert search(client, text="shoes")[0]["item_id"] == "boot"


def test_what_was_bought_is_found_in_a_search_though_it_is_not_recommended(client: TestClient) -> None:
    assert "boot" in [item["item_id"] for item in search(client, text="shoes", user_id="ann")]
    recommended = client.post("/v1/recommend", json={"text": "shoes", "user_id": "ann"}).json()
    assert "boot" not in [item["item_id"] for item in recommended["items"]]


def test_the_same_words_are_answered_for_the_shopper_who_asks(client: TestClient) -> None:
    lamps = [{"item_id": "lamp", "event_type": "view"}]
    guest, lit = search(client, text="home"), search(client, text="home", session=lamps)
    scores = [{item["item_id"]: item["score"] for item in items} for items in (guest, lit)]
    assert scores[1]["vase"] - scores[1]["rug"] > scores[0]["vase"] - scores[0]["rug"]  # vases go with lamps


def test_filters_scenario_and_exclusion_hold_in_a_search(client: TestClient) -> None:
    answer = search(client, text="home", scenario="search", filter={"brand": "lux"}, exclude_ids=["rug"])
    assert [item["item_id"] for item in answer] == ["lamp"]


@pytest.mark.parametrize("request_", [{"user_id": "ann"}, {"text": ""}, {"text": "<br>"}])
def test_a_search_for_nothing_is_refused(client: TestClient, request_: dict[str, Any]) -> None:
    response = client.post("/v1/search", json=request_)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "text"


@pytest.mark.parametrize("kind", SEARCH_EXAMPLES)
def test_every_example_is_answered(client: TestClient, kind: str) -> None:
    assert search(client, **SEARCH_EXAMPLES[kind]["value"])
