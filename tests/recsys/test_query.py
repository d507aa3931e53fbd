"""A stored history and a session are read as one: what the sequence model and the other sources are given."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from storefronts import (
    DAY,
    HOUR,
    ITEM_IDS,
    KETTLE,
    LAMP,
    MINUTE,
    NOON,
    READER,
    TEXT,
    item_entry,
    slate_of,
    text_entry,
    tiny_model,
    tiny_recommender,
    users_with,
)

from recsys.batch_scoring import shoppers
from recsys.query import Query, Signal
from recsys.sequence import Sequences
from recsys.tables import EVENT_TYPES


def weights_after(*session: Signal, **of_the_shop) -> dict[str, float]:
    """How much each item says of ann's wishes, before a root and recency."""
    reader = tiny_recommender(**of_the_shop).reader
    entries, _ = reader._with_session(reader.users.history("ann"), session)
    return {ITEM_IDS[row]: float(weight) for row, weight in zip(entries.item_rows, entries.weights, strict=True)}


def test_a_rating_of_the_session_weighs_by_its_stars_as_in_the_night() -> None:
    stars = {"kettle": 5.0, "lamp": 3.5, "mouse": 1.0, "teapot": None}
    session = [Signal("rating", NOON + DAY, item_id, value=value) for item_id, value in stars.items()]
    assert weights_after(*session) == {"keyboard": 5.0, "kettle": 5.0, "lamp": 2.5, "mouse": 0.0, "teapot": 5.0}


def test_a_return_in_the_session_leaves_a_fifth_of_all_that_was_done_with_the_item() -> None:
    session = [Signal(kind, NOON + DAY, "keyboard") for kind in ("view", "return")]
    assert weights_after(*session) == pytest.approx({"keyboard": 0.2 * (5 + 1)})


Read = tuple[str | np.ndarray, str, datetime]
"""An item id or a text's vector, the event type, and when."""


def query_vectors(*queries: Query, **of_the_shop) -> np.ndarray:
    """(n, dim) query vectors that the shop's sequence source is given."""
    return shoppers(tiny_recommender(sequence=READER, **of_the_shop), queries).query_vectors


def reading(entries: Sequence[Read]) -> np.ndarray:
    """(1, dim) what the model makes of just these entries."""
    texts = [what for what, _, _ in entries if not isinstance(what, str)]
    places = iter(range(len(texts)))
    sequences = Sequences(
        np.array([0, len(entries)]),
        np.array([ITEM_IDS.index(what) if isinstance(what, str) else -1 for what, _, _ in entries], dtype=np.int32),
        np.array([EVENT_TYPES.index(kind) for _, kind, _ in entries], dtype=np.int8),
        np.array([int(at.timestamp() * 1_000_000) for _, _, at in entries]),
        np.array([-1 if isinstance(what, str) else next(places) for what, _, _ in entries], dtype=np.int32),
    )
    return READER.query_vectors(sequences, np.stack(texts) if texts else None)


STORED: Read = ("keyboard", "purchase", NOON)
SEARCH = Signal("search", NOON + HOUR, text_vector=LAMP)


@pytest.mark.parametrize(
    ("query", "entries"),
    [
        (Query(user_id="ann"), [STORED]),
        (Query(user_id="cat"), [(LAMP, "search", NOON)]),
        (Query(session=(SEARCH,)), [(LAMP, "search", NOON + HOUR)]),
        (
            Query(user_id="ann", session=(Signal("view", NOON + 2 * HOUR, "mouse"), SEARCH)),
            [STORED, (LAMP, "search", NOON + HOUR), ("mouse", "view", NOON + 2 * HOUR)],
        ),
        (
            Query(user_id="cat", session=(Signal("search", NOON + HOUR, text_vector=KETTLE),)),
            [(LAMP, "search", NOON), (KETTLE, "search", NOON + HOUR)],
        ),
        (  # a page that was read, its text behind the item
            Query(session=(Signal("view", NOON, "teapot", KETTLE),)),
            [("teapot", "view", NOON), (KETTLE, "view", NOON)],
        ),
        (
            Query(user_id="ann", item_ids=("teapot", "lamp"), asked_at=NOON + DAY),
            [STORED, ("lamp", "view", NOON + DAY), ("teapot", "view", NOON + DAY)],
        ),
        (
            Query(user_id="ann", item_ids=("keyboard",), asked_at=NOON + DAY),
            [("keyboard", "view", NOON + DAY)],
        ),
        (
            Query(user_id="ann", session=(SEARCH,), text_vector=KETTLE),
            [STORED, (LAMP, "search", NOON + HOUR), (KETTLE, "search", NOON + HOUR)],
        ),
        (  # disliked, merely shown and unknown things say nothing of what comes next
            Query(
                user_id="bob",
                session=(
                    Signal("return", NOON, "mouse"),
                    Signal("impression", NOON, "lamp"),
                    Signal("view", NOON, "unheard-of"),
                    Signal("cart", NOON, "teapot"),
                ),
            ),
            [("teapot", "cart", NOON)],
        ),
        (  # the newest four are read
            Query(
                user_id="ann",
                session=tuple(Signal("search", NOON + k * HOUR, text_vector=TEXT[k]) for k in range(5)),
                text_vector=KETTLE,
            ),
            [*[(TEXT[k], "search", NOON + k * HOUR) for k in (2, 3, 4)], (KETTLE, "search", NOON + 4 * HOUR)],
        ),
    ],
    ids=["items", "texts", "search", "session", "both", "page text", "page", "same", "sentence", "disliked", "longest"],
)
def test_items_and_texts_are_read_as_one_history(query: Query, entries: list[Read]) -> None:
    np.testing.assert_allclose(query_vectors(query), reading(entries), atol=1e-6)


def test_there_is_nothing_to_expect_of_a_stranger() -> None:
    assert not query_vectors(Query(user_id="nobody"), Query()).any()


def test_histories_are_read_alike_alone_and_in_a_batch() -> None:
    both = Query(user_id="cat", session=(SEARCH, Signal("view", NOON + DAY, "teapot")), text_vector=KETTLE)
    kettle = Query(session=(Signal("search", NOON, text_vector=KETTLE),))
    queries = [kettle, Query(user_id="ann"), both, Query(), Query(user_id="cat"), Query(text_vector=TEXT[1])]
    together = query_vectors(*queries)
    np.testing.assert_allclose(together, np.concatenate([query_vectors(query) for query in queries]), atol=1e-6)


def test_an_item_of_session_and_stored_history_moves_to_its_newest_place() -> None:
    mouse = item_entry("mouse", weight=1.0, at=NOON + MINUTE, event_type="view", n_bought=0)
    users = users_with({"ann": [item_entry("keyboard", n_bought=1), mouse]})
    query = Query(user_id="ann", session=(Signal("view", NOON + HOUR, "keyboard"),))
    moved = [("mouse", "view", NOON + MINUTE), ("keyboard", "purchase", NOON + HOUR)]  # a view does not undo a purchase
    np.testing.assert_allclose(query_vectors(query, users=users), reading(moved), atol=1e-6)
    (history,) = shoppers(tiny_recommender(users=users), [query]).history.toarray()
    steps_back = np.array([0, 1, 0, 0.8 * np.sqrt(1 / 5), 0])  # weights 5 + 1, at most 5, and 1
    np.testing.assert_allclose(history, steps_back, rtol=1e-6)


def test_an_item_met_twice_in_a_session_stands_at_its_last_event() -> None:
    views = [Signal("cart", NOON, "mouse"), Signal("view", NOON + HOUR, "lamp"), Signal("view", NOON + DAY, "mouse")]
    events = [("lamp", "view", NOON + HOUR), ("mouse", "cart", NOON + DAY)]
    np.testing.assert_allclose(query_vectors(Query(session=tuple(views))), reading(events), atol=1e-6)


def test_a_stored_text_is_read_again_when_it_is_in_the_middle_of_things() -> None:
    """Text rows of stored entries and of the session point into different arrays."""
    users = users_with({"ann": [text_entry(1), item_entry("kettle")]}, texts=np.stack([LAMP, KETTLE]))
    query = Query(user_id="ann", session=(SEARCH,))
    events = [(KETTLE, "search", NOON), ("kettle", "purchase", NOON), (LAMP, "search", NOON + HOUR)]
    np.testing.assert_allclose(query_vectors(query, users=users), reading(events), atol=1e-6)


def test_what_is_expected_next_shapes_the_list() -> None:
    query = Query(user_id="ann")
    scores = READER.item_vectors @ query_vectors(query)[0]
    by_sequence = [ITEM_IDS[row] for row in np.argsort(-scores) if ITEM_IDS[row] != "keyboard"]
    weights = {**tiny_model().fusion.weights, "sequence": 1000.0}
    slate = slate_of(query, sequence=READER, fusion=replace(tiny_model().fusion, weights=weights))
    assert [item.item_id for item in slate.items] == by_sequence
    assert slate.items[0].source == "sequence"
