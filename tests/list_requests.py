"""Requests for lists through a test client."""

from typing import Any

from starlette.testclient import TestClient


def recommend(client: TestClient, **request: Any) -> dict[str, Any]:
    response = client.post("/v1/recommend", json=request)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def item_ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]
