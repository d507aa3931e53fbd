from dataclasses import replace

import pytest
from fake_releases import Shelf
from starlette.testclient import TestClient

from recsys import config
from recsys.config import Settings
from serving.api import create_app
from serving.releases.active import ReleaseWatch
from serving.state import ServiceState
from serving.watch.polling import LONGEST_PAUSE_POLLS


@pytest.fixture
def watch(shelf: Shelf) -> ReleaseWatch:
    return ReleaseWatch(shelf.source, config.ServeSettings())


@pytest.fixture
def client(watch: ReleaseWatch) -> TestClient:
    return TestClient(create_app(Settings(), ServiceState(lambda: watch.live)))


def test_ready_once_a_first_release_is_published(shelf: Shelf, watch: ReleaseWatch, client: TestClient) -> None:
    assert not watch.poll()
    assert client.get("/readyz").status_code == 503
    shelf.publish("r1")
    assert watch.poll()
    assert client.get("/readyz").json()["release_id"] == "r1"


def test_a_new_release_is_swapped_in_and_an_old_one_back(shelf: Shelf, watch: ReleaseWatch, client: TestClient) -> None:
    served = []
    for release_id in ("r1", "r2", "r1"):
        shelf.publish(release_id)
        watch.poll()
        served.append(client.post("/v1/recommend", json={"user_id": "ann"}).json()["release_id"])
    assert served == ["r1", "r2", "r1"]


def test_a_release_that_is_served_is_not_loaded_again(shelf: Shelf, watch: ReleaseWatch) -> None:
    shelf.publish("r1")
    assert [watch.poll() for _ in range(3)] == [True, False, False]
    assert shelf.loads == ["r1"]


def test_a_release_that_does_not_load_leaves_the_one_before(
    shelf: Shelf, watch: ReleaseWatch, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.publish("r1")
    watch.poll()
    shelf.current = "r2"
    for _ in range(20):
        assert not watch.poll()
    assert client.get("/readyz").json()["release_id"] == "r1"
    assert caplog.text.count("release not loaded id=r2 error=release r2: damaged") == 1
    assert 2 <= shelf.loads.count("r2") < 6


def test_a_release_that_is_whole_in_the_end_is_served(shelf: Shelf, watch: ReleaseWatch) -> None:
    shelf.current = "r1"
    for _ in range(10):
        watch.poll()
    shelf.publish("r1")
    assert any(watch.poll() for _ in range(LONGEST_PAUSE_POLLS + 1))


def test_text_vectors_are_kept_across_releases_of_one_encoder(
    shelf: Shelf, watch: ReleaseWatch, client: TestClient
) -> None:
    for release_id in ("r1", "r2"):
        shelf.publish(release_id)
        watch.poll()
        assert client.post("/v1/recommend", json={"text": "shoes"}).status_code == 200
    assert len(shelf.encoders) == 1


def test_another_encoder_starts_with_vectors_of_its_own(shelf: Shelf, watch: ReleaseWatch, client: TestClient) -> None:
    for release_id, max_tokens in (("r1", 64), ("r2", 128)):
        shelf.publish(release_id, max_tokens=max_tokens)
        watch.poll()
        assert client.post("/v1/recommend", json={"text": "shoes"}).status_code == 200
    assert [settings.max_tokens for settings in shelf.encoders] == [64, 128]


def test_vectors_of_another_encoder_than_the_releases_are_refused(
    shelf: Shelf, watch: ReleaseWatch, client: TestClient
) -> None:
    shelf.publish("r1")
    release = shelf.releases["r1"]
    shelf.releases["r1"] = replace(release, manifest=replace(release.manifest, encoder_id="other"))
    watch.poll()
    response = client.post("/v1/recommend", json={"text": "shoes"})
    assert response.status_code == 503
    assert "built with encoder other" in response.json()["detail"]
    assert client.post("/v1/recommend", json={"user_id": "ann"}).status_code == 200


def test_a_release_that_somebody_was_erased_from_is_loaded_anew(shelf: Shelf, watch: ReleaseWatch) -> None:
    shelf.publish("r1")
    watch.poll()
    before = watch.live
    shelf.digests["r1"] = "rewritten"
    assert [watch.poll() for _ in range(2)] == [True, False]
    assert shelf.loads == ["r1", "r1"]
    assert watch.live is not before
