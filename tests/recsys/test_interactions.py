from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.config import InteractionsSettings
from recsys.interactions import histories, interactions, matrix, positions, rating_events, time_decay

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def events(*rows: tuple[str, str | None, str, int, float | None]) -> pl.LazyFrame:
    """(user, item, type, minute, value)"""
    return pl.LazyFrame(
        [(user, item, kind, DAY + timedelta(minutes=minute), value) for user, item, kind, minute, value in rows],
        schema={
            "user_id": pl.String,
            "item_id": pl.String,
            "event_type": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "value": pl.Float64,
        },
        orient="row",
    )


def weights(*rows: tuple[str, str | None, str, int, float | None]) -> dict[tuple[str, str], float]:
    table = histories(events(*rows), InteractionsSettings()).collect()
    return {(user, item): weight for user, item, weight in table.select("user_id", "item_id", "weight").iter_rows()}


def test_events_of_a_pair_add_up() -> None:
    assert weights(("u", "a", "view", 0, None), ("u", "a", "purchase", 1, None)) == {("u", "a"): 6.0}


@pytest.mark.parametrize(("stars", "weight"), [(5, 5.0), (3.5, 2.5), (2, 0.0), (1, 0.0)])
def test_a_rating_weighs_as_a_purchase_at_5_stars_and_nothing_at_2(stars: float, weight: float) -> None:
    assert weights(("u", "a", "rating", 0, stars)) == {("u", "a"): weight}


def test_a_return_leaves_a_fifth_of_what_was_there() -> None:
    assert weights(("u", "a", "purchase", 0, None), ("u", "a", "return", 9, None)) == pytest.approx({("u", "a"): 1.0})


def test_what_was_only_shown_or_searched_is_no_history() -> None:
    assert weights(("u", "a", "impression", 0, None), ("u", None, "search", 1, None)) == {}


def test_a_disliked_item_is_history_but_no_interaction() -> None:
    table = histories(events(("u", "a", "rating", 0, 1.0)), InteractionsSettings()).collect()
    assert table["item_id"].to_list() == ["a"]
    assert table["n_bought"].to_list() == [1]
    assert interactions(table).is_empty()


@pytest.mark.parametrize(
    ("kinds", "strongest", "n_bought"),
    [
        (["view", "cart", "view"], "cart", 0),
        (["purchase", "view"], "purchase", 1),
        (["purchase", "cart", "purchase", "purchase"], "purchase", 3),
        (["rating"], "rating", 1),  # whoever rates it has it, wherever it was bought
        (["purchase", "purchase", "rating"], "rating", 2),
        (["return"], "return", 1),
        (["purchase", "return"], "return", 1),
    ],
)
def test_a_pair_is_told_by_the_event_that_says_most_and_its_purchases_are_counted(
    kinds: list[str], strongest: str, n_bought: int
) -> None:
    table = histories(
        events(*[("u", "a", kind, minute, None) for minute, kind in enumerate(kinds)]), InteractionsSettings()
    )
    (row,) = table.collect().to_dicts()
    assert (row["event_type"], row["n_bought"]) == (strongest, n_bought)
    assert row["timestamp"] == DAY + timedelta(minutes=len(kinds) - 1)


def test_a_search_that_names_an_item_says_less_than_any_other_event() -> None:
    weighed = InteractionsSettings(search=0.5)
    both = events(("u", "a", "view", 0, None), ("u", "a", "search", 1, None), ("u", "b", "search", 2, None))
    assert histories(both, weighed).collect().select("item_id", "event_type", "n_bought").rows() == [
        ("a", "view", 0),
        ("b", "search", 0),
    ]


def test_histories_run_from_old_to_new_with_ties_by_item() -> None:
    table = histories(
        events(("u", "c", "view", 5, None), ("u", "b", "view", 1, None), ("u", "a", "view", 5, None)),
        InteractionsSettings(),
    ).collect()
    assert table["item_id"].to_list() == ["b", "a", "c"]


def test_reviews_become_rating_events() -> None:
    reviews = pl.LazyFrame({"user_id": ["u"], "item_id": ["a"], "rating": [4.0], "timestamp": [DAY]})
    assert rating_events(reviews).collect().row(0, named=True) == {
        "user_id": "u",
        "item_id": "a",
        "event_type": "rating",
        "timestamp": DAY,
        "value": 4.0,
    }


def test_weight_halves_with_each_half_life_and_the_future_counts_as_now() -> None:
    times = pl.Series([DAY, DAY - timedelta(days=10), DAY - timedelta(days=20), DAY + timedelta(days=3)])
    np.testing.assert_allclose(time_decay(times, DAY, 10.0), [1.0, 0.5, 0.25, 1.0])


def test_matrix_leaves_out_pairs_of_unknown_ids() -> None:
    pairs = pl.DataFrame({"user_id": ["u", "u", "x"], "item_id": ["a", "z", "a"], "weight": [2.0, 3.0, 4.0]})
    X = matrix(pairs, pl.Series(["u", "v"]), pl.Series(["a", "b"]))
    assert X.toarray().tolist() == [[2.0, 0.0], [0.0, 0.0]]


def test_positions_of_unknown_ids_are_minus_one() -> None:
    assert positions(pl.Series(["b", "z"]), pl.Series(["a", "b"])).tolist() == [1, -1]
    assert positions(pl.Series(["b"]), pl.Series([], dtype=pl.String)).tolist() == [-1]
