"""A list that is asked for again is the one of a moment ago, and only while nothing has happened."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from list_requests import item_ids, recommend
from starlette.testclient import TestClient

import serving.lists.cache
from features.live.database import LiveDatabase
from features.store.release import LoadedRelease
from recsys.config import Settings
from recsys.recommend import Recommender
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.state import ServiceState


@pytest.fixture
def lives(live: ActiveRelease) -> list[ActiveRelease]:
    """The last one answers."""
    return [live]


@pytest.fixture
def client(lives: list[ActiveRelease], live_database: LiveDatabase) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), ServiceState(lambda: lives[-1], live_database))) as client:
        yield client


@pytest.fixture
def n_made(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many lists have been made."""
    calls: list[None] = []
    make = Recommender._slate

    def counted(*arguments: object) -> object:
        calls.append(None)
        return make(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Recommender, "_slate", counted)
    return lambda: len(calls)


@pytest.mark.parametrize(
    "request_",
    [{"user_id": "ann"}, {"text": "shoes"}, {"user_id": "ann", "filter": {"brand": "Lux"}, "explain": True}],
)
def test_the_same_list_is_made_once(client: TestClient, n_made: Callable[[], int], request_: dict[str, object]) -> None:
    first, second = (recommend(client, **request_) for _ in range(2))
    assert n_made() == 1
    assert second["items"] == first["items"]
    assert second["recommendation_id"] != first["recommendation_id"]


def test_what_differs_is_another_list(client: TestClient, n_made: Callable[[], int]) -> None:
    for request in (
        {"user_id": "ann"},
        {"user_id": "bea"},
        {"user_id": "ann", "count": 2},
        {"user_id": "ann", "session": [{"item_id": "rug", "event_type": "view"}]},
        {"user_id": "ann", "session": [{"item_id": "vase", "event_type": "view"}]},
        {"text": "shoes"},
    ):
        recommend(client, **request)
    client.post("/v1/search", json={"text": "shoes"})
    assert n_made() == 7


def test_an_event_and_an_item_that_goes_are_in_the_next_list(client: TestClient) -> None:
    before = recommend(client, user_id="bea")
    client.post("/v1/events", json={"user_id": "bea", "item_id": "lamp", "event_type": "purchase"})
    after = recommend(client, user_id="bea")
    assert "lamp" in item_ids(before)
    assert "lamp" not in item_ids(after)
    client.delete("/v1/items/rug")
    assert "rug" in item_ids(after)
    assert "rug" not in item_ids(recommend(client, user_id="bea"))


def test_another_release_makes_its_own(
    client: TestClient, lives: list[ActiveRelease], release_of: Callable[..., LoadedRelease], n_made: Callable[[], int]
) -> None:
    recommend(client, user_id="ann")
    lives.append(replace(lives[0], release=release_of("r2")))
    assert recommend(client, user_id="ann")["release_id"] == "r2"
    assert n_made() == 2


def test_after_a_while_it_is_made_anew(
    client: TestClient, n_made: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.lists.cache, "CACHED_FOR", timedelta(0))
    recommend(client, user_id="ann")
    recommend(client, user_id="ann")
    assert n_made() == 2


def test_long_lists_are_not_kept(
    client: TestClient, n_made: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.lists.cache, "MAX_ITEMS", 2)
    for _ in range(2):
        recommend(client, user_id="ann", count=3)
    assert n_made() == 2


def test_a_review_that_is_hidden_is_quoted_no_more(client: TestClient, lives: list[ActiveRelease]) -> None:
    def quoted() -> set[str]:
        items = recommend(client, user_id="bea", text="home", explain=True)["items"]
        return {item["evidence"]["review_id"] for item in items if item["evidence"]}

    hidden = set()
    object.__setattr__(lives[0].release.recommender.facts, "hidden", hidden)
    before = quoted()
    assert before and quoted() == before
    hidden.update(before)
    assert not quoted() & before


def test_a_list_that_was_given_again_can_be_made_again(client: TestClient) -> None:
    recommend(client, user_id="ann")
    again = recommend(client, user_id="ann")
    explained = client.get(f"/v1/explain/{again['recommendation_id']}").json()
    assert explained["reproduced"]
    assert explained["user_id"] == "ann"
