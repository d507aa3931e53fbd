import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.live.database import LiveDatabase
from features.live.event_log import EventLog, LoggedEvent, RecentEvent
from features.store.manifest import LivePosition, Manifest
from recsys.config import Settings
from recsys.errors import StoreError
from serving.api import create_app
from serving.live.context import LiveContext, RecentEvents, after_events
from serving.live.reader import LOGGED_EVERY_S, PAUSE_S, LiveReader
from serving.releases.active import ActiveRelease
from serving.schemas.lists import RecommendRequest, SessionEvent
from serving.state import ServiceState

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
"""Of the shop's release."""

LATER = AS_OF + timedelta(hours=1)
MANIFEST = Manifest("r1", None, AS_OF, AS_OF, {}, {}, {}, "words", "", "", {})


@pytest.fixture
def log(live_database: LiveDatabase) -> EventLog:
    return EventLog(live_database)


@pytest.fixture
def replicas(live: ActiveRelease, log: EventLog) -> Iterator[list[TestClient]]:
    """Two of them, on one log."""
    apps = [create_app(Settings(), ServiceState(lambda: live, log.database)) for _ in range(2)]
    with TestClient(apps[0]) as first, TestClient(apps[1]) as second:
        yield [first, second]


def tell(client: TestClient, **event: Any) -> None:
    assert client.post("/v1/events", json={"user_id": "zoe"} | event).status_code == 202


def recommended(client: TestClient, **request: Any) -> dict[str, Any]:
    response = client.post("/v1/recommend", json={"user_id": "zoe"} | request)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def first_item(answer: dict[str, Any]) -> str:
    return str(answer["items"][0]["item_id"])


def test_the_next_list_reads_what_the_shopper_just_did_on_every_replica(replicas: list[TestClient]) -> None:
    assert recommended(replicas[0])["fallback"] == "unknown_user"
    tell(replicas[0], event_type="cart", item_id="boot")
    for client in replicas:
        answer = recommended(client)
        assert (first_item(answer), answer["fallback"]) == ("sock", None)
    tell(replicas[1], event_type="purchase", item_id="lamp")
    for client in replicas:
        assert first_item(recommended(client)) == "vase"


def test_a_search_is_read_as_one_of_the_session_is(replicas: list[TestClient], encoder: Any) -> None:
    tell(replicas[0], event_type="search", text="warm shoes")
    answer = recommended(replicas[1])
    assert (first_item(answer), answer["items"][0]["source"]) == ("boot", "query_text")
    assert ["warm shoes"] in encoder.calls
    same = replicas[1].post("/v1/recommend", json={"session": [{"text": "warm shoes"}]}).json()
    assert [item["score"] for item in same["items"]] == [item["score"] for item in answer["items"]]


def test_other_shoppers_and_guests_are_left_alone(replicas: list[TestClient]) -> None:
    tell(replicas[0], event_type="cart", item_id="boot")
    assert recommended(replicas[0], user_id="yan")["fallback"] == "unknown_user"
    guest = replicas[0].post("/v1/recommend", json={"item_ids": ["lamp"]}).json()
    assert first_item(guest) == "vase"


def test_the_sessions_own_events_come_last(replicas: list[TestClient]) -> None:
    tell(replicas[0], event_type="cart", item_id="boot")
    assert first_item(recommended(replicas[0], session=[{"item_id": "lamp", "event_type": "cart"}])) == "vase"


def request_with(*session: SessionEvent) -> RecommendRequest:
    return RecommendRequest(user_id="zoe", session=session)


def session_of(log: EventLog, request: RecommendRequest, live: LivePosition | None = None) -> list[tuple[Any, ...]]:
    """What the recommender is given as the session."""
    manifest = replace(MANIFEST, log_offset=live or MANIFEST.log_offset)
    recent = RecentEvents(log, 10).of(request.user_id, manifest)
    answered = after_events(request, recent)
    return [(event.event_type, event.item_id, event.timestamp) for event in answered.session]


def purchase(event_id: str, item_id: str = "boot", after_s: int = 0) -> LoggedEvent:
    return LoggedEvent(event_id, "zoe", item_id, "purchase", LATER + timedelta(seconds=after_s))


def test_what_the_request_tells_again_counts_once(log: EventLog) -> None:
    log.append([purchase("e1"), purchase("e2", after_s=5)])
    same = SessionEvent(item_id="boot", event_type="purchase", timestamp=LATER)
    undated = SessionEvent(item_id="boot", event_type="purchase")
    viewed = SessionEvent(item_id="boot", event_type="view")
    later = LATER + timedelta(seconds=5)
    assert session_of(log, request_with(same)) == [("purchase", "boot", later), ("purchase", "boot", LATER)]
    assert session_of(log, request_with(undated)) == [("purchase", "boot", None)]
    assert len(session_of(log, request_with(viewed))) == 3


def test_what_the_release_holds_is_not_read_again(log: EventLog) -> None:
    log.append([replace(purchase("e1"), timestamp=AS_OF - timedelta(hours=1))])
    in_release = LivePosition(log.database.id, log.newest())
    log.append([replace(purchase("e2", "coat"), timestamp=AS_OF - timedelta(hours=1))])
    assert [item for _, item, _ in session_of(log, request_with(), in_release)] == ["coat"]
    of_another_database = LivePosition("another", log.newest())
    assert [item for _, item, _ in session_of(log, request_with(), of_another_database)] == ["boot", "coat"]


class BrokenLog:
    """Counts how often it is asked; answers once it is mended."""

    def __init__(self, log: EventLog) -> None:
        self.database = log.database
        self.n_reads = 0
        self.is_mended = False

    def recent(self, *_: object) -> list[RecentEvent]:
        self.n_reads += 1
        if self.is_mended:
            return [RecentEvent("boot", "view", LATER, None, None)]
        raise StoreError("live.sqlite: the live database cannot be read (gone)")


def test_a_broken_log_is_no_outage_is_left_alone_for_a_moment_and_told_of_seldom(
    log: EventLog, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    broken = BrokenLog(log)
    reader = LiveReader(in_thread=True, clock=lambda: now[0])
    monkeypatch.setattr(EventLog, "recent", broken.recent)
    context = LiveContext(log.database, Settings(), reader)

    def n_read(at_s: float) -> int:
        now[0] = at_s
        length = asyncio.run(context.read(request_with(), MANIFEST, lambda request, _: len(request.session)))
        return length or 0

    with caplog.at_level(logging.WARNING):
        assert [n_read(at_s) for at_s in (0.0, 0.5 * PAUSE_S, 1.5 * PAUSE_S)] == [0, 0, 0]
        assert broken.n_reads == 2
        assert len(caplog.records) == 1
        assert n_read(LOGGED_EVERY_S) == 0
        assert len(caplog.records) == 2
    broken.is_mended = True
    assert n_read(LOGGED_EVERY_S + 0.5 * PAUSE_S) == 0
    assert n_read(LOGGED_EVERY_S + 1.5 * PAUSE_S) == 1
    reader.close()


def test_lists_are_made_where_the_log_is_gone(
    live: ActiveRelease, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EventLog, "recent", BrokenLog(log).recent)
    with TestClient(create_app(Settings(), ServiceState(lambda: live, log.database))) as client:
        assert recommended(client, user_id="ann")["items"]


def test_no_recent_events_where_the_shop_wants_none(live: ActiveRelease, log: EventLog) -> None:
    settings = Settings.model_validate({"serve": {"recent_events": 0}})
    with TestClient(create_app(settings, ServiceState(lambda: live, log.database))) as client:
        tell(client, event_type="cart", item_id="boot")
        assert recommended(client)["fallback"] == "unknown_user"
