from datetime import UTC, datetime, timedelta

import polars as pl

from recsys.config import Evaluate
from recsys.split import new_items, next_items, target_events, temporal_cut

START = datetime(2026, 1, 1, tzinfo=UTC)


def targets(*rows: tuple[str, str, float]) -> pl.DataFrame:
    """(user, item, day)"""
    return pl.DataFrame(
        [(user, item, START + timedelta(days=day)) for user, item, day in rows],
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Datetime("us", "UTC")},
        orient="row",
    )


def a_year_of_purchases(per_day: int) -> pl.DataFrame:
    return targets(*[(f"u{day}-{i}", "a", day) for day in range(365) for i in range(per_day)])


END = START + timedelta(days=365)


def test_the_window_is_the_last_days_where_they_have_users_enough() -> None:
    cut = temporal_cut(a_year_of_purchases(10), END, Evaluate(days=3, min_users=30))
    assert cut == END - timedelta(days=3)


def test_the_window_doubles_until_it_has_users_enough() -> None:
    cut = temporal_cut(a_year_of_purchases(10), END, Evaluate(days=3, min_users=100))
    assert cut == END - timedelta(days=12)


def test_the_window_never_takes_more_than_its_share() -> None:
    cut = temporal_cut(a_year_of_purchases(10), END, Evaluate(days=3, min_users=10_000, max_share=0.1))
    held_out = a_year_of_purchases(10).filter(pl.col("timestamp") >= cut)
    assert 0.09 < len(held_out) / 3650 < 0.11


def test_without_targets_nothing_is_held_out() -> None:
    assert temporal_cut(targets(), END, Evaluate()) == END


def test_new_items_are_those_of_the_window_that_the_user_did_not_have() -> None:
    bought = targets(
        ("u", "old", 1), ("u", "old", 11), ("u", "new", 12), ("u", "later", 13), ("u", "new", 14), ("v", "gone", 12)
    )
    before = targets(("u", "old", 1)).select("user_id", "item_id")
    ten, twenty = START + timedelta(days=10), START + timedelta(days=20)
    found = new_items(bought, before, pl.Series(["old", "new", "later"]), ten, twenty)
    assert found.rows() == [("u", "new"), ("u", "later")]
    assert next_items(found).rows() == [("u", "new")]


def test_a_shop_without_purchases_is_judged_by_views() -> None:
    def kinds(*types: str) -> list[str]:
        frame = pl.LazyFrame(
            {
                "user_id": ["u"] * len(types),
                "item_id": list(types),
                "event_type": list(types),
                "timestamp": [START] * len(types),
                "value": [5.0] * len(types),
            }
        )
        return target_events(frame).collect()["item_id"].to_list()

    assert kinds("view", "impression") == ["view"]
    assert kinds("view", "purchase", "cart") == ["cart", "purchase"]
