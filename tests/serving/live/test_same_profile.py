"""The same events give the same profile, whether they come from the lake, the event log or the session."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from storefronts import ITEM_IDS, tiny_model

from features.live.database import open_live_database
from features.live.event_log import EventLog, LoggedEvent
from features.store.manifest import Manifest
from recsys.config import InteractionsSettings, RecommendSettings
from recsys.interactions import histories
from recsys.query import Profile, QueryReader
from recsys.repeats import Repeats
from recsys.users import history_table, users_from_table
from recsys.workspace import Workspace
from serving.lists.query import to_query
from serving.live.context import RecentEvents, after_events
from serving.schemas.lists import RecommendRequest, SessionEvent

MODEL = tiny_model(repeats=Repeats(allowed=True, after_days=0.0))
WEIGHTS = InteractionsSettings()
START = datetime(2026, 1, 1, tzinfo=UTC)
MANIFEST = Manifest("r1", None, START, START, {}, {}, {}, "words", "", "", {})
ASKED_AT = START + timedelta(days=30)

Event = tuple[int, str, str, float | None]
"""Minutes after START, item, type, stars."""

EVENT = st.tuples(
    st.integers(0, 10_000),
    st.sampled_from(ITEM_IDS[:3]),
    st.sampled_from(["view", "click", "cart", "purchase", "rating", "return"]),
    st.sampled_from([1.0, 3.5, 5.0]),
)


def at(event: Event) -> datetime:
    return START + timedelta(minutes=event[0])


def profile(lake: Sequence[Event], logged: Sequence[Event], session: Sequence[Event], folder: Path) -> Profile:
    rows = [("ann", item_id, kind, at(event), stars) for event in lake for _, item_id, kind, stars in [event]]
    schema = {"user_id": pl.String, "item_id": pl.String, "event_type": pl.String}
    schema |= {"timestamp": pl.Datetime("us", "UTC"), "value": pl.Float64}
    read = pl.DataFrame(schema=schema).select("user_id", "timestamp", "event_type", text_row=pl.lit(None, pl.Int32))
    stored = histories(pl.LazyFrame(rows, schema=schema, orient="row"), WEIGHTS).collect()
    table = history_table(stored, read, 500, 500)
    nothing = np.zeros((len(table), 3), dtype=np.float32)
    users = users_from_table(table, nothing, nothing[:0], pl.Series(ITEM_IDS))

    log = EventLog(open_live_database(Workspace(folder), ""))
    log.append(
        [
            LoggedEvent(str(number), "ann", item_id, kind, at(event), value=stars if kind == "rating" else None)
            for number, event in enumerate(logged)
            for _, item_id, kind, stars in [event]
        ]
    )
    events = [
        SessionEvent(item_id=item_id, event_type=kind, timestamp=at(event), value=stars if kind == "rating" else None)
        for event in session
        for _, item_id, kind, stars in [event]
    ]
    request = RecommendRequest(user_id="ann", session=tuple(events))
    recent = RecentEvents(log, 100).of("ann", MANIFEST)
    log.database.close()
    query = to_query(after_events(request, recent), [], ASKED_AT, 0)
    none_hidden = np.zeros(0, dtype=np.int64)
    return QueryReader(MODEL, users, none_hidden, RecommendSettings(), WEIGHTS, 0.8).profile(query)


@settings(max_examples=15, deadline=None)
@given(st.lists(EVENT, max_size=8, unique_by=lambda event: event[0]), st.integers(0, 8), st.integers(0, 8))
def test_lake_event_log_and_session_are_read_by_one_rule(history: list[Event], first: int, second: int) -> None:
    history.sort()
    low, high = sorted((first, second))
    with TemporaryDirectory() as split, TemporaryDirectory() as whole:
        (Path(split) / "live").mkdir()
        (Path(whole) / "live").mkdir()
        mixed = profile(history[:low], history[low:high], history[high:], Path(split))
        expected = profile(history, (), (), Path(whole))
    np.testing.assert_array_equal(mixed.history[0], expected.history[0])
    np.testing.assert_allclose(mixed.history[1], expected.history[1], rtol=1e-5)
    np.testing.assert_array_equal(mixed.read.item_rows, expected.read.item_rows)
    np.testing.assert_array_equal(mixed.read.event_types, expected.read.event_types)
    np.testing.assert_array_equal(mixed.read.timestamps, expected.read.timestamps)
    np.testing.assert_array_equal(mixed.bought[0], expected.bought[0])
    np.testing.assert_allclose(mixed.bought[1], expected.bought[1], rtol=1e-5)
    assert sorted(mixed.hidden_rows.tolist()) == sorted(expected.hidden_rows.tolist())
