from collections.abc import Callable
from dataclasses import replace

import pytest
from list_requests import item_ids, recommend
from starlette.testclient import TestClient

from features.encoder.reading import Reading, ScriptReading
from recsys.config import Settings
from recsys.query import Query
from serving.releases.active import ActiveRelease
from serving.schemas.lists import RECOMMEND_EXAMPLES

Clients = Callable[..., TestClient]


def test_a_known_user_gets_what_goes_with_the_purchase_and_not_the_purchase(client: TestClient) -> None:
    answer = recommend(client, user_id="ann")
    assert answer["items"][0]["item_id"] == "sock"
    assert answer["items"][0]["source"] == "linear"
    assert "boot" not in item_ids(answer)
    assert answer["fallback"] is None


def test_an_unknown_user_gets_what_sells_and_is_told_so(client: TestClient) -> None:
    answer = recommend(client, user_id="zoe", count=2)
    assert item_ids(answer) == ["lamp", "vase"]
    assert answer["fallback"] == "unknown_user"


def test_a_guest_gets_what_goes_with_the_session(client: TestClient) -> None:
    answer = recommend(client, session=[{"item_id": "lamp", "event_type": "cart"}], count=5)
    assert answer["items"][0]["item_id"] == "vase"
    assert "lamp" not in item_ids(answer)
    assert answer["fallback"] is None


def test_a_guests_search_in_the_session_is_read(client: TestClient) -> None:
    answer = recommend(client, session=[{"text": "shoes"}])
    assert answer["items"][0] | {"score": 0} == {
        "item_id": "boot",
        "score": 0,
        "rank": 1,
        "source": "query_text",
        "title": None,
    }


def test_a_guest_with_a_sentence_gets_what_reads_like_it(client: TestClient) -> None:
    answer = recommend(client, text="warm shoes", count=2)
    assert item_ids(answer) == ["boot", "sock"]
    assert answer["items"][0]["source"] == "query_text"
    assert answer["fallback"] is None


def test_an_item_page_gets_what_goes_with_the_item(client: TestClient) -> None:
    answer = recommend(client, item_ids=["lamp"], exclude_ids=["rug"])
    assert answer["items"][0]["item_id"] == "vase"
    assert not {"lamp", "rug"} & set(item_ids(answer))


def test_the_service_answers_what_the_recommender_answers(client: TestClient, live: ActiveRelease) -> None:
    slate = live.release.recommender.recommend([Query(user_id="ann", count=4)])[0]
    answer = recommend(client, user_id="ann", count=4)
    assert [(item["item_id"], item["score"], item["rank"]) for item in answer["items"]] == [
        (item.item_id, item.score, item.rank) for item in slate.items
    ]


def test_an_answer_has_the_fields_of_the_contract_and_ids_that_sort_by_time(client: TestClient) -> None:
    first, second = recommend(client, user_id="ann"), recommend(client, user_id="ann")
    assert first.keys() == {"recommendation_id", "items", "fallback", "release_id", "took_ms"}
    assert first["items"][0].keys() == {"item_id", "score", "rank", "source", "title"}
    assert first["release_id"] == "r1"
    assert first["took_ms"] > 0
    assert [item["rank"] for item in first["items"]] == list(range(1, len(first["items"]) + 1))
    assert first["recommendation_id"] != second["recommendation_id"]
    assert first["recommendation_id"][:12] <= second["recommendation_id"][:12]


def test_similar_answers_items_of_the_same_kind(client: TestClient) -> None:
    answer = client.post("/v1/similar", json={"item_id": "rug", "count": 2, "exclude_ids": ["vase"]}).json()
    assert item_ids(answer)[0] == "lamp"
    assert not {"rug", "vase"} & set(item_ids(answer))


def test_similar_to_an_unknown_item_is_404_and_names_near_ones(client: TestClient) -> None:
    response = client.post("/v1/similar", json={"item_id": "boots"})
    assert response.status_code == 404
    assert "boots" in response.json()["detail"]
    assert "boot, " in response.json()["detail"]


def test_the_release_describes_itself(client: TestClient) -> None:
    assert client.get("/v1/release").json() == {
        "release_id": "r1",
        "as_of": "2026-01-01T00:00:00Z",
        "rows": {"items": 6, "users": 1, "reviews": 0},
        "metrics": {"all": {"ndcg_at_10": 0.5}},
        "encoder_id": "words",
        "texts": None,
    }


def test_the_release_says_how_its_encoder_reads_the_texts(client_of: Clients, live: ActiveRelease) -> None:
    scripts = (ScriptReading("CJK", share=1.0, unknown=0.75, equal=0.5, letters_per_token=1.0),)
    reading = Reading(n_texts=6, unknown=0.75, equal=0.5, scripts=scripts, left_out=True)
    active = replace(live, release=replace(live.release, reading=reading))
    texts = client_of(active).get("/v1/release").json()["texts"]
    assert (texts["unknown"], texts["equal"], texts["left_out"]) == (0.75, 0.5, True)
    assert texts["scripts"][0]["script"] == "CJK"


def test_alive_and_ready_with_a_release(client: TestClient) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json() == {"status": "ready", "release_id": "r1"}


@pytest.mark.parametrize(("method", "path"), [("GET", "/readyz"), ("GET", "/v1/release")])
def test_without_a_release_alive_but_not_ready(client_of: Clients, method: str, path: str) -> None:
    client = client_of(None)
    assert client.get("/healthz").status_code == 200
    response = client.request(method, path)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.json()["type"] == "urn:recsys:problem:not-ready"


def test_without_a_release_nothing_is_recommended(client_of: Clients) -> None:
    client = client_of(None)
    assert client.post("/v1/recommend", json={"user_id": "ann"}).status_code == 503
    assert client.post("/v1/similar", json={"item_id": "boot"}).status_code == 503


def test_no_more_items_than_the_shop_allows(live: ActiveRelease, client_of: Clients) -> None:
    settings = Settings.model_validate({"recommend": {"max_count": 3}})
    client = client_of(live, settings)
    assert len(recommend(client, user_id="ann", count=3)["items"]) == 3
    response = client.post("/v1/recommend", json={"user_id": "ann", "count": 4})
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "count", "message": "4 is more than 3, the most items of one list"}]


def test_the_description_has_an_example_of_each_kind_of_shopper(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    route = described["paths"]["/v1/recommend"]["post"]
    assert set(route["requestBody"]["content"]["application/json"]["examples"]) == {
        "known user",
        "unknown user",
        "guest with a session",
        "guest with a text",
        "item page",
        *(f"scenario {name}" for name in ("home", "product", "cart", "search", "email")),
    }
    assert {"200", "400", "401", "413", "422", "429", "503"} <= set(route["responses"])
    assert set(route["responses"]["422"]["content"]) == {"application/problem+json"}


@pytest.mark.parametrize("kind", RECOMMEND_EXAMPLES)
def test_every_example_is_answered(client: TestClient, kind: str) -> None:
    answer = recommend(client, **RECOMMEND_EXAMPLES[kind]["value"])
    assert answer["items"] or answer["n_matched"] == 0  # a filter of the examples finds nothing in this shop
