from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from storefronts import ITEM_IDS, NOON, TEXT, item_entry, text_entry, tiny_users, users_with

from recsys.tables import EVENT_TYPES
from recsys.users import HISTORY, History, history_table, users_from_table

LAMP = TEXT[[2]]
MINUTE = timedelta(minutes=1)


def entries_of(history: History) -> list[tuple[str | int, float, datetime, str, int]]:
    """(item id or text row, weight, timestamp, event type, n_bought) of each entry."""
    assert ((history.item_rows >= 0) != (history.text_rows >= 0)).all()
    return [
        (
            ITEM_IDS[item_row] if item_row >= 0 else int(text_row),
            float(weight),
            NOON + timedelta(microseconds=int(at) - int(NOON.timestamp() * 1_000_000)),
            EVENT_TYPES[code],
            int(n_bought),
        )
        for item_row, text_row, weight, at, code, n_bought in zip(
            history.item_rows,
            history.text_rows,
            history.weights,
            history.timestamps,
            history.event_types,
            history.n_bought,
            strict=True,
        )
    ]


def test_histories_come_back_by_user_with_items_and_texts() -> None:
    users = tiny_users()
    assert entries_of(users.history("ann")) == [("keyboard", 5.0, NOON, "purchase", 1)]
    assert entries_of(users.history("bob")) == [("kettle", 0.0, NOON, "return", 1)]
    assert entries_of(users.history("cat")) == [(0, 0.0, NOON, "search", 0)]
    np.testing.assert_array_equal(users.texts, LAMP)


def test_unknown_users_and_guests_have_an_empty_history() -> None:
    for user_id in ("nobody", None):
        assert len(tiny_users().history(user_id)) == 0
        assert entries_of(tiny_users().history(user_id)) == []


def test_entries_can_be_taken_and_joined() -> None:
    history = users_with({"ann": [item_entry("keyboard"), text_entry(3), item_entry("lamp")]}).history("ann")
    assert [entry[0] for entry in entries_of(history.take(np.array([2, 0])))] == ["lamp", "keyboard"]
    assert [entry[0] for entry in entries_of(history.take(slice(1, None)))] == [3, "lamp"]
    assert entries_of(history.take(slice(0, 1)).followed_by(history.take(slice(1, None)))) == entries_of(history)


def test_the_sequence_model_reads_what_was_liked_and_all_texts_user_by_user() -> None:
    users = users_with(
        {
            "ann": [
                item_entry("lamp", weight=0.0, event_type="rating"),
                text_entry(1),
                item_entry("mouse", at=NOON + MINUTE, event_type="cart"),
            ],
            "bob": [item_entry("kettle", weight=0.0)],
            "cat": [text_entry(0), item_entry("teapot")],
        }
    )
    sequences = users.sequences()
    assert sequences.indptr.tolist() == [0, 2, 2, 4]
    assert sequences.item_rows.tolist() == [-1, ITEM_IDS.index("mouse"), -1, ITEM_IDS.index("teapot")]
    assert sequences.text_rows.tolist() == [1, -1, 0, -1]
    assert [EVENT_TYPES[code] for code in sequences.event_types] == ["search", "cart", "search", "purchase"]
    noon = int(NOON.timestamp() * 1_000_000)
    assert sequences.timestamps.tolist() == [noon, noon + 60_000_000, noon, noon]
    sequences.check(n_items=5, n_texts=2)


@pytest.mark.parametrize("histories", [{}, {"ann": []}])
def test_without_any_entry_there_are_shoppers_but_nothing_to_read(histories: dict[str, list]) -> None:
    users = users_with(histories)
    assert list(users.rows) == list(histories)
    assert len(users.history("ann")) == 0
    assert users.sequences().indptr.tolist() == [0] * (len(histories) + 1)


def history(n: int) -> pl.DataFrame:
    """u viewed i0, i1, … a minute apart."""
    return pl.DataFrame(
        {
            "user_id": ["u"] * n,
            "item_id": [f"i{k}" for k in range(n)],
            "weight": pl.Series([1.0] * n, dtype=pl.Float32),
            "timestamp": pl.Series([NOON + k * MINUTE for k in range(n)], dtype=pl.Datetime("us", "UTC")),
            "event_type": pl.Series(["view"] * n, dtype=pl.Enum(EVENT_TYPES)),
            "n_bought": pl.Series([0] * n, dtype=pl.Int32),
        }
    )


def read(*rows: tuple[str, int, int]) -> pl.DataFrame:
    """(user, minute, text row) of searches."""
    return pl.DataFrame(
        [(user, NOON + minute * MINUTE, "search", text_row) for user, minute, text_row in rows],
        schema={
            "user_id": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "event_type": pl.Enum(EVENT_TYPES),
            "text_row": pl.Int32,
        },
        orient="row",
    )


def stream(table: pl.DataFrame, user_id: str) -> list[str | int]:
    """The item ids and text rows of one user's history, oldest first."""
    (entries,) = table.filter(pl.col("user_id") == user_id)["history"].to_list()
    return [entry["item_id"] if entry["item_id"] is not None else entry["text_row"] for entry in entries]


def test_items_and_texts_make_one_stream_and_a_search_comes_before_what_it_led_to() -> None:
    table = history_table(history(3), read(("u", 1, 7), ("u", 9, 8), ("v", 0, 9)), max_items=9, max_texts=9)
    assert table["history"].dtype == HISTORY
    assert table["user_id"].to_list() == ["u", "v"]
    assert stream(table, "u") == ["i0", 7, "i1", "i2", 8]
    assert stream(table, "v") == [9]


def test_the_newest_items_and_the_newest_texts_are_kept_each_by_their_own_measure() -> None:
    texts = read(("u", 9, 1), ("u", 0, 2), ("u", 9, 3), ("v", 0, 4))
    table = history_table(history(5), texts, max_items=2, max_texts=1)
    assert stream(table, "u") == ["i3", "i4", 3]  # of two searches at one time the later row is the newer
    assert stream(table, "v") == [4]


def test_where_nothing_was_read_there_are_only_items_and_the_other_way_round() -> None:
    assert stream(history_table(history(2), read(), 9, 9), "u") == ["i0", "i1"]
    assert stream(history_table(history(0), read(("u", 0, 5)), 9, 9), "u") == [5]
    assert stream(history_table(history(2), read(("u", 0, 5)), 9, max_texts=0), "u") == ["i0", "i1"]
    assert history_table(history(0), read(), 9, 9).is_empty()


def test_items_that_left_the_catalogue_leave_the_histories_and_texts_stay() -> None:
    table = history_table(history(3), read(("u", 1, 0), ("v", 0, 0)), 9, 9)
    users = users_from_table(table, np.zeros((2, 2), np.float32), np.zeros((1, 2), np.float32), pl.Series(["i2", "no"]))
    assert users.history("u").item_rows.tolist() == [-1, 0]
    assert users.history("u").text_rows.tolist() == [0, -1]
    assert users.history("v").text_rows.tolist() == [0]


def test_at_one_moment_a_search_comes_before_the_item_and_the_text_of_a_page_behind_it() -> None:
    history = pl.DataFrame(
        {
            "user_id": ["u"],
            "item_id": ["boot"],
            "weight": pl.Series([1.0], dtype=pl.Float32),
            "timestamp": [NOON],
            "event_type": ["view"],
            "n_bought": pl.Series([0], dtype=pl.Int32),
        }
    )
    read = pl.DataFrame(
        {"user_id": ["u", "u"], "timestamp": [NOON] * 2, "event_type": ["view", "search"], "text_row": [7, 8]}
    )
    (entries,) = history_table(history, read, max_items=9, max_texts=9)["history"].to_list()
    assert [entry["item_id"] or entry["text_row"] for entry in entries] == [8, "boot", 7]
