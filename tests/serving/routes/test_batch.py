from collections.abc import Callable

from starlette.testclient import TestClient

from serving.routes.batch import BATCH_EXAMPLES, MAX_REQUESTS


def test_each_request_is_answered_as_it_would_be_alone_in_its_order(client: TestClient) -> None:
    requests = [{"user_id": "ann", "explain": True}, {"text": "shoes", "count": 2}, {"user_id": "zoe"}]
    results = client.post("/v1/recommend:batch", json={"requests": requests}).json()["results"]
    for request, result in zip(requests, results, strict=True):
        assert result["slate"]["items"] == client.post("/v1/recommend", json=request).json()["items"]
        assert result["problem"] is None


def test_a_bad_request_does_not_fail_the_rest(client: TestClient) -> None:
    requests = [{"user_id": "ann"}, {}, {"user_id": "ann", "pins": [{"position": 1}]}, {"user_id": "a", "count": 5000}]
    answer = client.post("/v1/recommend:batch", json={"requests": requests}).json()
    good, empty, pin, long = answer["results"]
    assert answer["n_failed"] == 3
    assert good["slate"]["items"]
    assert "at least one of user_id" in empty["problem"]["detail"]
    assert pin["problem"]["errors"][0]["field"] == "pins.0.item_id"
    assert long["problem"]["status"] == 422
    assert all(result["slate"] is None for result in (empty, pin, long))


def test_too_many_or_no_requests_are_refused(client: TestClient) -> None:
    for requests in ([], [{"user_id": "ann"}] * (MAX_REQUESTS + 1), ["ann"]):
        assert client.post("/v1/recommend:batch", json={"requests": requests}).status_code == 422


def test_without_a_release_the_whole_batch_is_not_ready(client_of: Callable[..., TestClient]) -> None:
    response = client_of(None).post("/v1/recommend:batch", json={"requests": [{"user_id": "ann"}]})
    assert response.status_code == 503


def test_the_example_is_answered(client: TestClient) -> None:
    answer = client.post("/v1/recommend:batch", json=BATCH_EXAMPLES["a mailing"]["value"]).json()
    assert answer["n_failed"] == 0
