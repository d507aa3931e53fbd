import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import serving.lists.cache
from features.workspace.hidden_reviews import hide_reviews, show_reviews
from serving.releases.active import ActiveRelease
from serving.watch.hidden_reviews import HiddenWatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hidden-reviews.json"


def watch_of(file: Path) -> HiddenWatch:
    watch = HiddenWatch(file, 1.0)
    watch.poll()
    return watch


def test_a_review_is_hidden_and_shown_while_the_service_runs(
    live: ActiveRelease, client_of: Callable[..., TestClient], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_of(file)
    recommender = live.release.recommender
    recommender.facts = replace(recommender.facts, hidden=watch)
    client = client_of(live)

    def quoted() -> str | None:
        answer = client.post("/v1/recommend", json={"user_id": "ann", "count": 1, "explain": True}).json()
        evidence = answer["items"][0]["evidence"]
        return None if evidence is None else str(evidence["review_id"])

    assert quoted() == "r1"
    hide_reviews(file, ["r1"], NOW)
    assert watch.poll()
    assert quoted() == "r2"
    hide_reviews(file, ["r2"], NOW)
    watch.poll()
    assert quoted() is None
    show_reviews(file, ["r1"], NOW)
    watch.poll()
    monkeypatch.setattr(serving.lists.cache, "CACHED_FOR", timedelta(0))  # a minute later
    assert quoted() == "r1"


def test_a_file_that_did_not_change_is_not_read(file: Path) -> None:
    hide_reviews(file, ["r1"], NOW)
    assert not watch_of(file).poll()


@pytest.mark.parametrize("damage", ["remove", "cut"])
def test_while_the_file_is_damaged_what_was_hidden_stays_so(
    file: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    hide_reviews(file, ["r1"], NOW)
    watch = watch_of(file)
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:20])
    with caplog.at_level(logging.ERROR):
        assert not watch.poll()
        assert not watch.poll()
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert ("r1" in watch, "r2" in watch) == (True, False)


def test_a_file_that_could_never_be_read_hides_every_review(file: Path) -> None:
    file.write_text("{")
    watch = watch_of(file)
    assert "r1" in watch
    file.unlink()
    watch.poll()
    assert "r1" in watch
    hide_reviews(file, ["r2"], NOW)
    watch.poll()
    assert ("r1" in watch, "r2" in watch) == (False, True)


def test_without_a_file_nothing_is_hidden(file: Path) -> None:
    assert "r1" not in watch_of(file)
