import numpy as np
import polars as pl
from storefronts import ITEM_IDS, NOON, tiny_users

from recsys.users import history_table, users_from_table


def test_histories_come_back_by_user() -> None:
    rows, weights, bought = tiny_users().history("ann")
    assert (rows.tolist(), weights.tolist(), bought.tolist()) == ([ITEM_IDS.index("keyboard")], [5.0], [True])


def test_unknown_users_and_guests_have_an_empty_history() -> None:
    for user_id in ("nobody", None):
        assert [len(part) for part in tiny_users().history(user_id)] == [0, 0, 0]


def history(n: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": ["u"] * n,
            "item_id": [f"i{k}" for k in range(n)],
            "weight": pl.Series([1.0] * n, dtype=pl.Float32),
            "timestamp": [NOON] * n,
            "bought": [False] * n,
        }
    ).with_columns(timestamp=pl.col("timestamp") + pl.duration(minutes=pl.int_range(pl.len())))


def test_the_newest_entries_are_kept() -> None:
    table = history_table(history(5), max_history=2)
    assert [entry["item_id"] for entry in table["history"][0]] == ["i3", "i4"]


def test_items_that_left_the_catalogue_leave_the_histories() -> None:
    table = history_table(history(3), max_history=9)
    users = users_from_table(table, np.zeros((1, 2), np.float32), pl.Series(["i2", "other"]))
    assert users.history("u")[0].tolist() == [0]
