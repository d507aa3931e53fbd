"""Cached scores and filters change no answer."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storefronts import DAY, LAMP, NOON, READER, ranked, tiny_recommender

from recsys.filters import HasAttribute, OfBrand
from recsys.query import Query, Signal
from recsys.rules import Boost, Rules
from recsys.scorer import Scorer

QUERIES = [
    Query(user_id="ann"),
    Query(user_id="ann", by_ranker=False),
    Query(user_id="ann", exclude_ids=frozenset({"lamp"})),
    Query(user_id="ann", rules=Rules(boosts=(Boost(OfBrand(("Type",)), 0.0),))),
    Query(user_id="ann", rules=Rules(filter=OfBrand(("Type",)))),
    Query(user_id="ann", asked_at=NOON + DAY),
    Query(user_id="ann", text_vector=LAMP, text="lamp", search=True),
    Query(user_id="ann", text_vector=LAMP, text="mouse", search=True),
    Query(user_id="ann", text_vector=LAMP),
    Query(user_id="ann", session=(Signal("view", NOON + DAY, "kettle"),), explain=True),
    Query(session=(Signal("view", NOON + DAY, "kettle"),)),
    Query(item_ids=("kettle",)),
    Query(),
]


@given(queries=st.lists(st.sampled_from(QUERIES), min_size=2, max_size=12))
@settings(max_examples=40, deadline=None)
def test_what_was_asked_before_changes_no_answer(queries: list[Query]) -> None:
    """Scores of the last shoppers are kept: under a key of all that they hang on, and as they were."""
    recommender = ranked(sequence=READER)
    assert [recommender.recommend([query]) for query in queries] == [
        ranked(sequence=READER).recommend([query]) for query in queries
    ]


def test_what_a_shopper_has_not_changed_is_not_scored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = tiny_recommender()
    first = recommender.recommend([Query(user_id="ann")])
    monkeypatch.setattr(Scorer, "scores", lambda *_: pytest.fail("scored again"))
    assert recommender.recommend([Query(user_id="ann")]) == first
    assert recommender.recommend([Query(user_id="ann", count=2)])[0].items == first[0].items[:2]


def test_scored_is_what_sources_and_ranker_scored_before() -> None:
    recommender = ranked(sequence=READER)

    def was_scored(query: Query) -> bool:
        before = recommender.is_scored(query)
        assert recommender.recommend([query]) == ranked(sequence=READER).recommend([query])
        assert recommender.is_scored(query)
        return before

    query = Query(user_id="ann", asked_at=NOON + DAY)
    assert not was_scored(query)
    assert was_scored(replace(query, by_ranker=False))
    assert not was_scored(replace(query, exclude_ids=frozenset({"lamp"})))  # whose order the ranker has not seen


def test_a_filter_is_matched_once_and_not_taken_for_another() -> None:
    recommender = tiny_recommender()
    first = recommender.matching(OfBrand(("Type",)))
    assert recommender.matching(OfBrand(("Type",))) is first
    is_one, is_true = (HasAttribute("wireless", (value,)) for value in (1, True))
    assert recommender.matching(is_one) is not recommender.matching(is_true)


def test_what_happens_now_is_the_same_a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def query(now: datetime) -> Query:
        view = Signal("view", now, "lamp")
        return Query(user_id="ann", session=(view,), item_ids=("kettle",), asked_at=now)

    recommender = tiny_recommender(sequence=READER)
    first = recommender.recommend([query(NOON + DAY)])
    monkeypatch.setattr(Scorer, "scores", lambda *_: pytest.fail("scored again"))
    assert recommender.recommend([query(NOON + DAY + timedelta(seconds=1))]) == first
