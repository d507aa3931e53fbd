import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

import serving.client
from features.live.database import LiveDatabase
from features.live.event_log import EventLog
from serving.client import Client, ProblemError
from serving.client.answers import FieldProblem, ItemResponse, SlateResponse
from serving.client.requests import ShopEvent
from serving.client.wire import Wire


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """Waits for nothing, so that a test of failures takes no time."""
    with Client(url, "both", list_timeout_s=30.0, wire=partial(Wire, sleep=lambda _: None)) as client:
        yield client


def test_a_list_for_a_shopper(client: Client) -> None:
    slate = client.recommend(user_id="ann", count=2, explain=True, return_properties=True)
    first = slate.items[0]
    assert (slate.item_ids[0], slate.fallback, slate.release_id) == ("sock", None, "r1")
    assert (first.rank, first.title) == (1, "Sock")
    assert first.properties is not None and first.properties.attributes == {"colour": ["grey", "blue"]}
    assert first.properties.updated_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert first.reason is not None and first.reason.item_id == "boot"
    assert first.evidence is not None and first.evidence.review_id == "r1"
    assert first.scores is not None and first.scores.keys() >= {"linear"}


def test_lists_are_filtered_and_sessions_may_hold_times(client: Client) -> None:
    at = datetime.now(UTC) - timedelta(minutes=1)
    slate = client.recommend(
        session=[{"item_id": "lamp", "event_type": "cart", "timestamp": at}],
        filter={"price": {"max": 50}, "not": {"brand": "Foot"}},
    )
    assert (slate.item_ids, slate.n_matched, slate.relaxed) == (["vase", "lamp"], 2, ("seen",))


def test_the_other_lists(client: Client) -> None:
    assert client.search(text="shoes", count=1).item_ids == ["boot"]
    assert client.similar(item_id="rug", count=1, exclude_ids=["vase"]).item_ids == ["lamp"]
    assert client.popular(category="Home", count=2, window="ever", return_properties=True).item_ids == ["lamp", "vase"]
    assert client.popular().item_ids[0] == "lamp"
    assert client.complements(item_ids=["boot"]).item_ids[0] == "sock"


def test_a_batch_has_a_list_or_a_problem_for_each(client: Client) -> None:
    answer = client.recommend_batch([{"user_id": "ann"}, {"count": 3}])
    assert answer.n_failed == 1
    assert answer.results[0].slate is not None and answer.results[0].slate.item_ids[0] == "sock"
    assert answer.results[1].problem is not None and answer.results[1].problem.status == 422


def test_events_are_stored_and_keep_their_own_ids(client: Client, live_database: LiveDatabase) -> None:
    view: ShopEvent = {"user_id": "zoe", "event_type": "view", "item_id": "boot"}
    ids = client.send_events([view, {**view, "event_id": "own"}]).event_ids
    stored, _ = EventLog(live_database).batch(0, 10, 10)
    assert tuple(stored["event_id"]) == ids
    assert ids[1] == "own"


def test_events_whose_answer_was_lost_are_sent_again_under_the_same_ids(scripted: Any) -> None:
    answer = b'{"accepted": 1, "event_ids": ["e"], "errors": []}'
    with scripted(b"", b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)) as server:
        with Client(server.url, wire=partial(Wire, sleep=lambda _: None)) as client:
            client.send_events([{"user_id": "zoe", "event_type": "view", "item_id": "boot"}])
        first, second = (json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests)
    assert first == second
    assert len(first["events"][0]["event_id"]) == 32


def test_an_event_that_is_no_good_is_told_of(client: Client) -> None:
    view: ShopEvent = {"user_id": "zoe", "event_type": "view", "item_id": "boot"}
    answer = client.send_events([view, {"user_id": "zoe", "event_type": "search"}])
    assert (answer.accepted, answer.event_ids[1], answer.errors[0].index) == (1, None, 1)


def test_products_change_whatever_their_ids_hold(client: Client) -> None:
    assert client.put_item("a/b c?", title="Læmp", price=3, attributes={"a": 1}) == ItemResponse("a/b c?", 1)
    assert client.delete_item("lamp") == ItemResponse("lamp", 2)
    assert "lamp" not in client.popular().item_ids


def test_products_change_together(client: Client) -> None:
    answer = client.put_items([{"item_id": "lamp", "available": False}, {"item_id": "rug", "price": -1}])
    assert (answer.item_ids, answer.errors[0].field, answer.version) == (("lamp", None), "price", 1)
    assert "lamp" not in client.popular().item_ids


def test_the_release_tells_of_itself(client: Client) -> None:
    release = client.release()
    assert (release.release_id, release.as_of) == ("r1", datetime(2026, 1, 1, tzinfo=UTC))
    assert release.metrics == {"all": {"ndcg_at_10": 0.5}}


def test_what_the_service_refuses_is_raised_with_its_reasons(client: Client) -> None:
    with pytest.raises(ProblemError) as caught:
        client.recommend(user_id="ann", count=5000)
    assert caught.value.status == 422
    assert caught.value.errors == (FieldProblem("count", "5000 is more than 1000, the most items of one list"),)
    assert len(caught.value.request_id) == 32


def test_a_key_that_does_not_count_is_told_of(url: str) -> None:
    with Client(url, "revoked") as client, pytest.raises(ProblemError) as caught:
        client.release()
    assert (caught.value.status, caught.value.title) == (401, "Unauthorized")


def test_a_body_over_the_limit_is_told_of(client: Client) -> None:
    with pytest.raises(ProblemError) as caught:
        client.put_item("lamp", description="x" * 5_000_000)
    assert caught.value.status == 413


@pytest.mark.parametrize(("url_", "key"), [("http://127.0.0.1:1", "both"), (None, "revoked")])
def test_a_page_gets_the_shops_own_list_where_the_service_has_none(
    url: str, url_: str | None, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Client(url_ or url, key, wire=partial(Wire, sleep=lambda _: None)) as client,
        caplog.at_level(logging.WARNING),
    ):
        slates = [
            client.recommend(user_id="ann", fallback=["b", "a"]),
            client.search(text="shoes", fallback=["b", "a"]),
            client.similar(item_id="rug", fallback=["b", "a"]),
            client.complements(item_ids=["rug"], fallback=["b", "a"]),
            client.popular(fallback=["b", "a"]),
        ]
    assert [slate.item_ids for slate in slates] == [["b", "a"]] * 5
    assert {slate.fallback for slate in slates} == {"unavailable"}
    assert [item.rank for item in slates[0].items] == [1, 2]
    assert len(caplog.records) == 5
    assert "ann" not in caplog.text


def test_a_fallback_is_not_shown_where_there_is_a_list(client: Client) -> None:
    slate: SlateResponse = client.recommend(user_id="ann", fallback=["other"])
    assert "other" not in slate.item_ids


def test_it_needs_pythons_own_library_alone_and_may_be_copied(tmp_path: Path) -> None:
    copytree(Path(serving.client.__file__).parent, tmp_path / "recsys_client")
    without_site_packages = [sys.executable, "-S", "-c", "from recsys_client import Client; Client('http://shop')"]
    subprocess.run(without_site_packages, cwd=tmp_path, check=True)
