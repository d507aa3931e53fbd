from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

import serving.lists.recorder
from features.live.answer_log import Answer, AnswerLog, Exposure
from features.live.database import LiveDatabase
from recsys.config import ArmSettings, ServeSettings
from recsys.errors import StoreError
from recsys.experiments import Assignment
from serving.lists.record import ServedList
from serving.lists.recorder import AnswerRecorder
from serving.lists.request import SettledRequest
from serving.schemas.list_options import ListRequest
from serving.telemetry.metrics import ANSWERS_DROPPED, ANSWERS_RECORDED

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def log(live_database: LiveDatabase) -> Iterator[AnswerLog]:
    yield AnswerLog(live_database)


def answered(recommendation_id: str, at: datetime = NOON, arm: str = "") -> ServedList:
    settled = SettledRequest(ListRequest(user_id="ann"), at, frozenset(), is_search=False, by_ranker=True)
    part = Assignment("mix", arm, ArmSettings()) if arm else None
    return ServedList(recommendation_id, "r1", settled, ("boot",), part)


def test_what_is_added_is_written_with_its_exposure(log: AnswerLog) -> None:
    writer = AnswerRecorder(log, ServeSettings())
    writer.add(answered("1", arm="a"))
    writer.add(answered("2"))
    assert log.find("1") is None
    writer.flush()
    answer = log.find("1")
    assert answer is not None and (answer.user_id, answer.release_id, answer.at) == ("ann", "r1", NOON)
    assert log.find("2") is not None
    assert log.exposed("mix").to_dicts() == [{"user_id": "ann", "arm": "a", "first_at": NOON, "n_exposures": 1}]


def test_closing_writes_what_waits(log: AnswerLog) -> None:
    writer = AnswerRecorder(log, ServeSettings())
    writer.start()
    writer.add(answered("1"))
    writer.close()
    assert log.find("1") is not None


def test_where_no_replays_are_kept_exposures_are(log: AnswerLog) -> None:
    writer = AnswerRecorder(log, ServeSettings(replay_days=0))
    writer.add(answered("1", arm="a"))
    writer.add(answered("2"))
    writer.flush()
    assert log.find("1") is None
    assert log.exposed("mix")["n_exposures"].to_list() == [1]


def test_a_group_that_does_not_fit_is_dropped_and_counted(log: AnswerLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.lists.recorder, "MAX_WAITING", 3)
    monkeypatch.setattr(serving.lists.recorder, "GROUP_ANSWERS", 2)
    writer = AnswerRecorder(log, ServeSettings())
    dropped, recorded = (counter._value.get() for counter in (ANSWERS_DROPPED, ANSWERS_RECORDED))
    for n in range(5):
        writer.add(answered(str(n)))
    writer.flush()
    assert [log.find(str(n)) is not None for n in range(5)] == [True, True, True, False, False]
    assert ANSWERS_DROPPED._value.get() - dropped == 2
    assert ANSWERS_RECORDED._value.get() - recorded == 3


def test_a_failing_database_costs_a_group_is_logged_once_and_the_next_goes_on(
    log: AnswerLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise StoreError("disk full")

    writer = AnswerRecorder(log, ServeSettings())
    dropped = ANSWERS_DROPPED._value.get()
    with monkeypatch.context() as patch:
        patch.setattr(AnswerLog, "record", failing)
        for n in range(2):
            writer.add(answered(str(n)))
            writer.flush()
    writer.add(answered("2"))
    writer.flush()
    assert [log.find(str(n)) is not None for n in range(3)] == [False, False, True]
    assert ANSWERS_DROPPED._value.get() - dropped == 2
    assert caplog.text.count("answers not recorded") == 1


def test_what_is_older_than_the_settings_is_forgotten_once_an_hour(log: AnswerLog) -> None:
    log.record(
        [Answer("1", NOON - 8 * DAY, "ann", "r1", frozenset(), "{}")],
        [Exposure(name, NOON - age * DAY, "ann", "mix", "a") for name, age in (("old", 91), ("young", 89))],
    )
    writer = AnswerRecorder(log, ServeSettings(replay_days=7, exposure_days=90))
    writer.add(answered("2"))
    writer.flush()
    assert log.find("1") is None
    assert log.exposed("mix")["n_exposures"].to_list() == [1]
    log.record([Answer("3", NOON - 8 * DAY, "ann", "r1", frozenset(), "{}")], [])
    writer.add(answered("4", NOON + timedelta(minutes=59)))
    writer.flush()
    assert log.find("3") is not None
    writer.add(answered("5", NOON + timedelta(minutes=60)))
    writer.flush()
    assert log.find("3") is None
