"""The same events give the same profile, whether the lake has them or the session brings them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from storefronts import ITEM_IDS, NOON, tiny_model

from recsys.config import InteractionsSettings, RecommendSettings
from recsys.event_weights import EventWeights, Pair
from recsys.interactions import histories
from recsys.query import Profile, Query, QueryReader, Signal
from recsys.repeats import Repeats
from recsys.tables import EVENT_TYPES
from recsys.users import Users, history_table, users_from_table

MODEL = tiny_model(repeats=Repeats(allowed=True, after_days=0.0))
ASKED_AT = NOON + timedelta(days=30)


class Event(NamedTuple):
    """minute: after NOON."""

    minute: int
    item_id: str
    event_type: str
    stars: float | None = None


def stored(events: Sequence[Event], weights: InteractionsSettings) -> Users:
    """The shopper as a nightly run stores them that has read these events from the lake."""
    columns = {"user_id": pl.String, "item_id": pl.String, "event_type": pl.String}
    lake = pl.LazyFrame(
        [("ann", event.item_id, event.event_type, at(event), event.stars) for event in events],
        schema=columns | {"timestamp": pl.Datetime("us", "UTC"), "value": pl.Float64},
        orient="row",
    )
    read = pl.DataFrame(schema={"user_id": pl.String, "timestamp": pl.Datetime("us", "UTC"), "event_type": pl.String})
    read = read.with_columns(text_row=pl.lit(None, dtype=pl.Int32))
    table = history_table(histories(lake, weights).collect(), read, 500, 500)
    nothing = np.zeros((len(table), 3), dtype=np.float32)
    return users_from_table(table, nothing, nothing[:0], pl.Series(ITEM_IDS))


def at(event: Event):
    return NOON + timedelta(minutes=event.minute)


def profile(lake: Sequence[Event], session: Sequence[Event], weights: InteractionsSettings) -> Profile:
    signals = tuple(Signal(event.event_type, at(event), event.item_id, value=event.stars) for event in session)
    none_hidden = np.zeros(0, dtype=np.int64)
    reader = QueryReader(MODEL, stored(lake, weights), none_hidden, RecommendSettings(), weights, 0.8)
    return reader.profile(Query(user_id="ann", session=signals, asked_at=ASKED_AT))


def assert_same(one_way: Profile, other_way: Profile, *, with_counts: bool = True) -> None:
    np.testing.assert_array_equal(one_way.history[0], other_way.history[0])
    np.testing.assert_allclose(one_way.history[1], other_way.history[1], rtol=1e-5)
    for column in ("item_rows", "event_types", "timestamps"):
        np.testing.assert_array_equal(getattr(one_way.read, column), getattr(other_way.read, column))
    np.testing.assert_allclose(one_way.read.weights, other_way.read.weights, rtol=1e-5)
    assert sorted(one_way.hidden_rows.tolist()) == sorted(other_way.hidden_rows.tolist())
    assert (one_way.fallback is None, one_way.by_history) == (other_way.fallback is None, other_way.by_history)
    np.testing.assert_array_equal(one_way.bought[0], other_way.bought[0])
    if with_counts:
        np.testing.assert_allclose(one_way.bought[1], other_way.bought[1], rtol=1e-5)


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    minutes = sorted(draw(st.sets(st.integers(0, 10_000), max_size=8)))
    stars = st.sampled_from([1.0, 2.0, 3.5, 5.0])
    rows = []
    for minute in minutes:
        kind = draw(st.sampled_from(EVENT_TYPES))
        value = draw(st.none() | stars) if kind == "rating" else None
        rows.append(Event(minute, draw(st.sampled_from(ITEM_IDS[:3])), kind, value))
    return rows


SETTINGS = st.builds(
    InteractionsSettings, return_factor=st.sampled_from([0.0, 0.2, 1.0]), search=st.sampled_from([0.0, 0.5])
)
PLAIN = InteractionsSettings()


@settings(max_examples=150, deadline=None)
@given(events(), st.integers(0, 8), SETTINGS)
@example([Event(0, "mouse", "purchase"), Event(1, "mouse", "return"), Event(2, "mouse", "purchase")], 2, PLAIN)
@example([Event(0, "mouse", "return"), Event(1, "mouse", "return"), Event(2, "mouse", "cart")], 1, PLAIN)
@example([Event(0, "mouse", "purchase"), Event(1, "mouse", "rating", 5.0)], 1, PLAIN)
@example([Event(0, "mouse", "rating", 5.0), Event(1, "mouse", "purchase")], 1, PLAIN)
@example([Event(0, "mouse", "search"), Event(1, "mouse", "view")], 0, InteractionsSettings(search=0.5))
def test_the_session_adds_to_the_lake_what_the_next_run_would_read_there(
    history: list[Event], n_stored: int, weights: InteractionsSettings
) -> None:
    expected = profile(history, (), weights)
    assert_same(profile(history[:n_stored], history[n_stored:], weights), expected)


@settings(max_examples=100, deadline=None)
@given(events(), st.lists(st.booleans(), min_size=8, max_size=8), SETTINGS)
def test_an_event_that_comes_late_takes_its_place_in_time(
    history: list[Event], is_late: list[bool], weights: InteractionsSettings
) -> None:
    """All but how often an item was bought: that follows the order in which events became known."""
    early = [event for event, late in zip(history, is_late, strict=False) if not late]
    late = [event for event, late in zip(history, is_late, strict=False) if late]
    assert_same(profile(early, late, weights), profile(history, (), weights), with_counts=False)


@pytest.mark.parametrize(
    ("events_", "pair"),
    [
        ([("view", None), ("purchase", None)], Pair(6.0, EVENT_TYPES.index("purchase"), 1)),
        ([("purchase", None), ("rating", 5.0)], Pair(10.0, EVENT_TYPES.index("rating"), 1)),
        ([("rating", 1.0)], Pair(0.0, EVENT_TYPES.index("rating"), 1)),
        ([("rating", None), ("purchase", None)], Pair(10.0, EVENT_TYPES.index("rating"), 2)),
        ([("purchase", None), ("return", None)], Pair(1.0, EVENT_TYPES.index("return"), 1)),
        ([("purchase", None), ("return", None), ("purchase", None)], Pair(2.0, EVENT_TYPES.index("return"), 2)),
        ([("purchase", None), ("return", None), ("return", None)], Pair(1.0, EVENT_TYPES.index("return"), 1)),
    ],
)
def test_a_pair_after_its_events(events_: list[tuple[str, float | None]], pair: Pair) -> None:
    weights, reached = EventWeights(PLAIN), Pair()
    for event_type, stars in events_:
        reached = weights.after(reached, event_type, stars)
    assert reached == pytest.approx(pair)


def test_what_was_only_shown_or_searched_for_makes_no_pair_without_a_weight() -> None:
    assert [name for name in EVENT_TYPES if not EventWeights(PLAIN).counts(name)] == ["impression", "search"]
    assert EventWeights(InteractionsSettings(search=0.5)).counts("search")
