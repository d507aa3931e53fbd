from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.live.answer_log import ANSWERS, AnswerLog
from features.live.database import LiveDatabase
from features.live.item_changes import ItemChange, ItemChanges
from features.store.release import LoadedRelease
from recsys.config import Settings
from recsys.errors import StoreError
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.releases.replay import ReleaseGoneError
from serving.state import ServiceState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def lives(live: ActiveRelease) -> dict[str, list[ActiveRelease]]:
    """What is loaded, by release."""
    return {"r1": [live]}


@pytest.fixture
def shop(
    live: ActiveRelease, lives: dict[str, list[ActiveRelease]], live_database: LiveDatabase
) -> Iterator[TestClient]:
    """A service that finds releases in `lives`; r0 has been collected, and r2 is damaged."""

    async def past(release_id: str) -> Sequence[ActiveRelease]:
        if release_id == "r0":
            raise ReleaseGoneError("release r0 has been deleted")
        if release_id == "r2":
            raise StoreError("release r2: damaged")
        return lives[release_id]

    app = create_app(Settings(), ServiceState(lambda: live, live_database, past_releases=past))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def recommend(client: TestClient, route: str = "recommend", **request: Any) -> dict[str, Any]:
    response = client.post(f"/v1/{route}", json=request)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def explain(client: TestClient, answer: dict[str, Any]) -> dict[str, Any]:
    response = client.get(f"/v1/explain/{answer['recommendation_id']}")
    assert response.status_code == 200, response.text
    explained: dict[str, Any] = response.json()
    return explained


def assert_replays(explained: dict[str, Any], answer: dict[str, Any]) -> None:
    """The same items in the same order by the same scores, each with its reason."""
    assert explained["reproduced"]
    plain = [{name: item[name] for name in ("item_id", "score", "rank", "source", "title")} for item in answer["items"]]
    items = [{name: item[name] for name in plain[0]} for item in explained["items"]]
    assert items == plain
    assert explained["served_item_ids"] == [item["item_id"] for item in answer["items"]]
    assert all(item["reason"]["text"] and item["scores"] for item in explained["items"])
    for name in ("recommendation_id", "release_id", "fallback"):
        assert explained[name] == answer[name]


def test_a_list_is_told_again_with_reasons_scores_and_evidence(shop: TestClient) -> None:
    before = datetime.now(UTC)
    answer = recommend(shop, user_id="ann")
    explained = explain(shop, answer)
    assert_replays(explained, answer)
    first = explained["items"][0]
    assert first["reason"]["text"] == "customers who bought boot also bought this"
    assert first["evidence"]["review_id"] == "r1"
    assert max(first["scores"], key=first["scores"].__getitem__) == "linear"
    assert explained["user_id"] == "ann"
    assert before <= datetime.fromisoformat(explained["asked_at"]) <= datetime.now(UTC)
    assert "experiment" not in explained


@pytest.mark.parametrize(
    "request_",
    [
        {"text": "warm shoes"},
        {
            "session": [
                {"text": "&amp;lt;b&amp;gt;home&amp;lt;/b&amp;gt;"},
                {"item_id": "boot", "event_type": "rating", "value": 1},
            ]
        },
        {"item_ids": ["lamp"], "scenario": "product", "exclude_ids": ["vase"], "return_properties": True},
        {
            "user_id": "ann",
            "scenario": "email",
            "count": 3,
            "filter": {"or": [{"brand": "Lux"}, {"price": {"max": 200}}], "not": {"attributes": {"size": 9}}},
            "boosts": [{"filter": {"updated_after": "2025-12-31"}, "factor": 3}],
            "bury": [{"filter": {"category": "Home"}}],
            "pins": [{"item_id": "coat", "position": 2}],
            "explain": True,
        },
    ],
)
def test_whatever_was_asked_for_is_asked_again(shop: TestClient, request_: dict[str, Any]) -> None:
    answer = recommend(shop, **request_)
    assert_replays(explain(shop, answer), answer)


def test_searches_and_the_lists_of_a_batch_are_kept(shop: TestClient) -> None:
    search = recommend(shop, "search", text="rug", user_id="ann")
    assert search["items"][0]["item_id"] == "rug"
    assert_replays(explain(shop, search), search)
    batch = recommend(shop, "recommend:batch", requests=[{"user_id": "ann"}, {"user_id": []}, {"text": "home"}])
    slates = [result["slate"] for result in batch["results"] if result["slate"]]
    assert len(slates) == 2
    for slate in slates:
        assert_replays(explain(shop, slate), slate)


def test_the_day_is_replayed_as_it_was_then(shop: TestClient, live_database: LiveDatabase) -> None:
    """The shopper goes on, one product comes back and another one goes: nothing of it reaches the list of before."""
    changes = ItemChanges(live_database)
    changes.put([ItemChange("vase", {"available": False})], NOON)
    shop.post("/v1/events", json={"user_id": "zoe", "event_type": "view", "item_id": "boot"})
    answer = recommend(shop, user_id="zoe")
    assert "vase" not in [item["item_id"] for item in answer["items"]]
    changes.put([ItemChange("vase", {"available": True}), ItemChange("sock", {}, deleted=True)], NOON)
    shop.post("/v1/events", json={"user_id": "zoe", "event_type": "search", "text": "home"})
    assert_replays(explain(shop, answer), answer)
    assert explain(shop, recommend(shop, user_id="zoe"))["served_item_ids"] != explain(shop, answer)["served_item_ids"]


def test_a_session_that_the_log_made_longer_than_a_client_may_send_is_replayed(shop: TestClient) -> None:
    shop.post("/v1/events", json={"user_id": "zoe", "event_type": "view", "item_id": "boot"})
    session = [{"item_id": "lamp", "event_type": "view"}] * 500
    answer = recommend(shop, user_id="zoe", session=session)
    assert_replays(explain(shop, answer), answer)


def test_a_list_that_is_another_now_says_so_with_both(
    shop: TestClient,
    lives: dict[str, list[ActiveRelease]],
    live: ActiveRelease,
    release_of: Callable[..., LoadedRelease],
) -> None:
    """The shop's shopper is unknown to the release as it is now; where one of its forms knows him, that one tells."""
    answer = recommend(shop, user_id="ann")
    users = release_of().recommender.users
    changed = release_of()
    changed.recommender.reader.users = replace(users, rows={})
    lives["r1"] = [ActiveRelease(changed, live.texts)]
    explained = explain(shop, answer)
    assert not explained["reproduced"]
    assert explained["served_item_ids"][0] == "sock"
    assert explained["items"][0]["item_id"] == "lamp"
    lives["r1"].append(live)
    assert_replays(explain(shop, answer), answer)


def test_an_unknown_list_is_named_with_the_remedy(shop: TestClient) -> None:
    response = shop.get("/v1/explain/none")
    assert (response.status_code, response.json()["type"]) == (404, "urn:recsys:problem:unknown-recommendation")
    assert "for 7 days (serve.replay_days)" in response.json()["detail"]
    similar = shop.post("/v1/similar", json={"item_id": "boot"}).json()
    assert shop.get(f"/v1/explain/{similar['recommendation_id']}").status_code == 404


@pytest.mark.parametrize(("release_id", "status", "kind"), [("r0", 410, "release-gone"), ("r2", 503, "not-replayed")])
def test_a_release_that_is_gone_or_does_not_load_is_named(
    shop: TestClient, live_database: LiveDatabase, release_id: str, status: int, kind: str
) -> None:
    answer = recommend(shop, user_id="ann")
    explain(shop, answer)
    with live_database.write() as connection:
        connection.execute(ANSWERS.update().values(release_id=release_id))
    response = shop.get(f"/v1/explain/{answer['recommendation_id']}")
    assert (response.status_code, response.json()["type"]) == (status, f"urn:recsys:problem:{kind}")
    assert f"release {release_id}" in response.json()["detail"]


def test_a_list_that_another_version_has_kept_is_told_as_such(shop: TestClient, live_database: LiveDatabase) -> None:
    answer = recommend(shop, user_id="ann")
    explain(shop, answer)
    with live_database.write() as connection:
        connection.execute(ANSWERS.update().values(content='{"another": "form"}'))
    response = shop.get(f"/v1/explain/{answer['recommendation_id']}")
    assert response.status_code == 410
    assert "stored in an incompatible format by another version" in response.json()["detail"]


def test_where_no_lists_are_kept_the_setting_is_named(live: ActiveRelease, live_database: LiveDatabase) -> None:
    settings = Settings.model_validate({"serve": {"replay_days": 0}})
    with TestClient(create_app(settings, ServiceState(lambda: live, live_database))) as client:
        answer = recommend(client, user_id="ann")
        response = client.get(f"/v1/explain/{answer['recommendation_id']}")
    assert response.status_code == 404
    assert "serve.replay_days is 0" in response.json()["detail"]


def test_a_database_that_fails_delays_and_fails_no_list(
    shop: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise StoreError("live.sqlite: the live database cannot be written (disk full)")

    with monkeypatch.context() as patch:
        patch.setattr(AnswerLog, "record", failing)
        lost = [recommend(shop, user_id="ann") for _ in range(3)]
        assert shop.get(f"/v1/explain/{lost[-1]['recommendation_id']}").status_code == 404
    recorded = recommend(shop, user_id="ann")
    assert_replays(explain(shop, recorded), recorded)
    assert "answers not recorded" in caplog.text


def test_the_last_lists_are_written_when_the_service_ends(live: ActiveRelease, live_database: LiveDatabase) -> None:
    with TestClient(create_app(Settings(), ServiceState(lambda: live, live_database))) as client:
        answer = recommend(client, user_id="ann")
    record = AnswerLog(live_database).find(answer["recommendation_id"])
    assert record is not None and record.user_id == "ann"
