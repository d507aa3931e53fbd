from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import features.live.answer_log
from features.live.answer_log import Answer, AnswerLog, Exposure
from features.live.database import LiveDatabase

NOON = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def log(live_database: LiveDatabase) -> Iterator[AnswerLog]:
    yield AnswerLog(live_database)


def answer(recommendation_id: str, at: datetime = NOON, left_out: frozenset[str] = frozenset()) -> Answer:
    return Answer(recommendation_id, at, "ann", "r1", left_out, '{"søk": 1}')


def exposure(recommendation_id: str, user_id: str = "ann", arm: str = "a", at: datetime = NOON) -> Exposure:
    return Exposure(recommendation_id, at, user_id, "mix", arm)


def test_an_answer_comes_back_as_it_was_recorded(log: AnswerLog) -> None:
    known = answer("1", left_out=frozenset({"boot", "coat"}))
    guest = replace(answer("2"), user_id=None)
    log.record([known, guest], [])
    assert log.find("1") == known
    assert log.find("2") == guest
    assert log.find("3") is None


def test_what_is_recorded_twice_changes_nothing(log: AnswerLog) -> None:
    log.record([answer("1")], [exposure("1")])
    log.record([replace(answer("1"), content="other")], [exposure("1", "bea"), exposure("2")])
    assert log.find("1") == answer("1")
    assert log.exposed("mix")["n_exposures"].to_list() == [2]


def test_items_that_have_gone_are_stored_once_however_many_answers_leave_them_out(log: AnswerLog) -> None:
    unavailable = frozenset(f"i{n}" for n in range(100))
    log.record([answer(str(n), left_out=unavailable) for n in range(3)], [])
    log.record([answer("3", left_out=unavailable | {"more"})], [])
    with log.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM left_out").scalar() == 2
    answer_found = log.find("2")
    assert answer_found is not None and answer_found.left_out == unavailable


def test_who_was_shown_an_arm_since_when_and_how_often(log: AnswerLog) -> None:
    exposures = [
        exposure("1", "bea", "b"),
        exposure("2", "ann", at=NOON + HOUR),
        exposure("3", "ann"),
        replace(exposure("4", "cid"), experiment="other"),
        exposure("5", "bea", "a", at=NOON + HOUR),
    ]
    log.record([], exposures)
    assert log.exposed("mix").to_dicts() == [
        {"user_id": "ann", "arm": "a", "first_at": NOON, "n_exposures": 2},
        {"user_id": "bea", "arm": "a", "first_at": NOON + HOUR, "n_exposures": 1},
        {"user_id": "bea", "arm": "b", "first_at": NOON, "n_exposures": 1},
    ]
    assert log.exposed("none").schema == pl.Schema(log.exposed("mix").schema)


def test_what_is_old_is_forgotten_in_several_transactions(log: AnswerLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.live.answer_log, "PRUNED_AT_ONCE", 2)
    old, new = frozenset({"boot"}), frozenset({"coat"})
    answers = [answer(str(n), NOON + n * HOUR, old if n < 4 else new) for n in range(6)]
    log.record(answers, [exposure(str(n), at=NOON + n * HOUR) for n in range(6)])
    assert log.prune(NOON + 5 * HOUR, NOON + 2 * HOUR) == 5 + 1 + 2
    assert log.find("4") is None
    assert log.find("5") == answers[5]
    assert log.exposed("mix")["n_exposures"].to_list() == [4]
    assert log.prune(NOON + 5 * HOUR, NOON + 2 * HOUR) == 0


@pytest.mark.parametrize("table", ["answers", "exposures"])
def test_all_of_a_shopper_is_found_by_an_index(log: AnswerLog, table: str) -> None:
    with log.database.read() as connection:
        if connection.dialect.name != "sqlite":
            pytest.skip("PostgreSQL reads a table of one row without its index")
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN DELETE FROM {table} WHERE user_id = ?", ("ann",))
        assert "USING INDEX" in plan.all()[0][3]
