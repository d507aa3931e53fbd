"""Evaluation, the command line and the service answer the same list for the same query and release."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from conftest import PublishedShop
from starlette.testclient import TestClient

from features.encoder.encoder import load_encoder
from features.store.release import load_release
from jobs.__main__ import main
from recsys.query import Query
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.releases.text_vectors import TextVectors
from serving.state import ServiceState

SENTENCE = "a warm jacket for rainy days"


@pytest.fixture
def service(published_shop: PublishedShop) -> Iterator[TestClient]:
    release = load_release(published_shop.workspace)
    texts = TextVectors(lambda: load_encoder(release.encoder), size=10)
    yield TestClient(create_app(published_shop.settings, ServiceState(lambda: ActiveRelease(release, texts))))
    texts.close()


def queries(published_shop: PublishedShop) -> list[tuple[Query, dict, list[str]]]:
    """The same question to the recommender, to the service, and on the command line."""
    users = published_shop.trained.users["user_id"].to_list()
    item_id = published_shop.trained.model.item_ids[3]
    vector = load_encoder(published_shop.settings.encoder).encode([SENTENCE])[0]
    known = [(Query(user_id=user), {"user_id": user}, ["--user", user]) for user in users[:: len(users) // 10]]
    return [
        *known,
        (
            Query(user_id=users[1], item_ids=(item_id,)),
            {"user_id": users[1], "item_ids": [item_id]},
            ["--user", users[1], "--items", item_id],
        ),
        (
            Query(user_id=users[1], text_vector=vector),
            {"user_id": users[1], "text": SENTENCE},
            ["--user", users[1], "--text", SENTENCE],
        ),
        (Query(user_id="stranger"), {"user_id": "stranger"}, ["--user", "stranger"]),
        (Query(item_ids=(item_id,)), {"item_ids": [item_id]}, ["--items", item_id]),
        (Query(text_vector=vector), {"text": SENTENCE}, ["--text", SENTENCE]),
    ]


def test_the_service_answers_what_evaluation_measures(published_shop: PublishedShop, service: TestClient) -> None:
    for query, request, _ in queries(published_shop):
        # by the clock that the service goes by: what was bought comes back with time
        (slate,) = published_shop.trained.recommender.recommend([replace(query, asked_at=datetime.now(UTC))])
        answer = service.post("/v1/recommend", json=request).json()
        assert [item["item_id"] for item in answer["items"]] == [item.item_id for item in slate.items]
        assert [item["source"] for item in answer["items"]] == [item.source for item in slate.items]
        assert answer["fallback"] == slate.fallback


def test_the_command_line_prints_what_the_service_answers(
    published_shop: PublishedShop, service: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = queries(published_shop)
    for _, request, options in [expected[0], *expected[-3:]]:
        assert main(["recommend", "--workspace", str(published_shop.workspace.root), "--json", *options]) == 0
        printed = json.loads(capsys.readouterr().out)
        answer = service.post("/v1/recommend", json=request).json()
        assert printed["items"] == answer["items"]
        assert printed["release_id"] == answer["release_id"]
