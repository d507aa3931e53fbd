from starlette.testclient import TestClient

from serving.routes.nonpersonal import COMPLEMENTS_EXAMPLES


def item_ids(answer: dict) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_what_sells_in_a_category(client: TestClient) -> None:
    answer = client.get("/v1/popular", params={"category": "home", "count": 2, "return_properties": True}).json()
    assert item_ids(answer) == ["lamp", "vase"]
    assert answer["n_matched"] == 3
    assert answer["items"][0]["properties"]["category"] == "Home > Light"


def test_a_bad_query_is_named(client: TestClient) -> None:
    for params, field in (({"count": 0}, "count"), ({"window": "soon"}, "window"), ({"count": 5000}, "count")):
        response = client.get("/v1/popular", params=params)
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == field


def test_complements_are_what_was_bought_with_the_item(client: TestClient) -> None:
    answer = client.post("/v1/complements", json={"item_ids": ["boot"]}).json()
    assert item_ids(answer) == ["sock"]
    assert "n_matched" not in answer
    filtered = client.post("/v1/complements", json={"item_ids": ["boot"], "filter": {"brand": "Lux"}}).json()
    assert item_ids(filtered) == []


def test_complements_of_an_unknown_item_are_404(client: TestClient) -> None:
    for example in COMPLEMENTS_EXAMPLES.values():
        response = client.post("/v1/complements", json=example["value"])
        assert response.status_code == 404
        assert "i-318" in response.json()["detail"]


def test_complements_of_nothing_are_refused(client: TestClient) -> None:
    response = client.post("/v1/complements", json={"item_ids": []})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "item_ids"
