from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.config import EvaluateSettings
from recsys.errors import DataError
from recsys.split import check_no_leak, new_items, next_items, split, target_events, temporal_cut, untied, visits
from recsys.tables import EVENT_TYPES

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
    cut = temporal_cut(a_year_of_purchases(10), END, EvaluateSettings(days=3, min_users=30))
    assert cut == END - timedelta(days=3)


def test_the_window_doubles_until_it_has_users_enough() -> None:
    cut = temporal_cut(a_year_of_purchases(10), END, EvaluateSettings(days=3, min_users=100))
    assert cut == END - timedelta(days=12)


def test_the_window_never_takes_more_than_its_share() -> None:
    cut = temporal_cut(a_year_of_purchases(10), END, EvaluateSettings(days=3, min_users=10_000, max_share=0.1))
    held_out = a_year_of_purchases(10).filter(pl.col("timestamp") >= cut)
    assert 0.09 < len(held_out) / 3650 < 0.11


def test_without_targets_nothing_is_held_out() -> None:
    assert temporal_cut(targets(), END, EvaluateSettings()) == END


def test_new_items_are_those_of_the_window_that_the_user_did_not_have() -> None:
    bought = targets(
        ("u", "old", 1), ("u", "old", 11), ("u", "new", 12), ("u", "later", 13), ("u", "new", 14), ("v", "gone", 12)
    )
    viewed = targets(("u", "later", 11.5), ("v", "new", 12))
    ten, twenty = START + timedelta(days=10), START + timedelta(days=20)
    fresh = new_items(bought, pl.concat([bought, viewed]), pl.Series(["old", "new", "later"]), ten, twenty)
    assert fresh.equals(targets(("u", "later", 11.5), ("u", "new", 12)))  # each when it was first met
    assert pairs(next_items(fresh)) == [("u", "later")]


def test_what_was_looked_at_before_is_no_new_item_unless_bought_items_come_back() -> None:
    bought, viewed = targets(("u", "a", 12), ("u", "a", 13), ("u", "b", 14)), targets(("u", "a", 9), ("u", "b", 11))
    ten, twenty = START + timedelta(days=10), START + timedelta(days=20)
    events, known = pl.concat([bought, viewed]), pl.Series(["a", "b"])
    assert new_items(bought, events, known, ten, twenty).equals(targets(("u", "b", 11)))
    again = new_items(bought, events, known, ten, twenty, repeats=True)
    assert again.equals(targets(("u", "a", 12), ("u", "b", 14)))


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


def events(*rows: tuple[str, str, float], kind: str = "purchase") -> pl.DataFrame:
    """(user, item, day)"""
    return targets(*rows).with_columns(
        event_type=pl.lit(kind).cast(pl.Enum(EVENT_TYPES)), value=pl.lit(None, dtype=pl.Float64)
    )


def pairs(frame: pl.DataFrame) -> list[tuple[str, str]]:
    return frame.select("user_id", "item_id").rows()


FOUR = events(("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("u", "d", 4), ("v", "a", 1), ("v", "b", 9))


def test_leave_one_out_asks_for_the_last_and_tunes_on_the_one_before() -> None:
    parts = split(FOUR.sample(fraction=1.0, shuffle=True, seed=0), "leave-one-out")
    assert pairs(parts.test.targets) == [("u", "d")]
    assert pairs(parts.validation.targets) == [("u", "c")]
    v_only_trains = [("v", "a"), ("v", "b")]
    assert pairs(parts.test.events) == [("u", "a"), ("u", "b"), ("u", "c"), *v_only_trains]
    assert pairs(parts.validation.events) == [("u", "a"), ("u", "b"), *v_only_trains]


def test_a_repeat_is_no_target_and_what_follows_the_target_is_not_learned() -> None:
    repeats = events(("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("u", "a", 4), ("u", "c", 5))
    test = split(repeats, "leave-one-out").test
    assert pairs(test.targets) == [("u", "c")]
    assert pairs(test.events) == [("u", "a"), ("u", "b")]


def test_where_repeats_are_asked_for_each_success_is_a_choice() -> None:
    repeats = events(("u", "a", 1), ("u", "b", 2), ("u", "a", 4), ("u", "c", 5), ("u", "a", 6))
    parts = split(repeats, "leave-one-out", repeats=True)
    assert pairs(parts.test.targets) == [("u", "a")]
    assert parts.test.targets["timestamp"].to_list() == [START + timedelta(days=6)]
    assert pairs(parts.test.events) == [("u", "a"), ("u", "b"), ("u", "a"), ("u", "c")]
    assert pairs(parts.validation.targets) == [("u", "c")]
    assert pairs(parts.validation.events) == [("u", "a"), ("u", "b"), ("u", "a")]


def test_three_purchases_of_one_item_are_enough_to_be_asked_where_repeats_are() -> None:
    thrice = events(("u", "a", 1), ("u", "a", 2), ("u", "a", 3))
    assert pairs(split(thrice, "leave-one-out", repeats=True).test.targets) == [("u", "a")]
    with pytest.raises(DataError, match="0 users can be asked"):
        split(thrice, "leave-one-out")


def test_a_repeated_view_is_no_choice_but_stays_in_the_past() -> None:
    bought = events(("u", "a", 1), ("u", "b", 3), ("u", "a", 5))
    viewed = events(("u", "b", 2), ("u", "b", 4), ("u", "a", 6), kind="view")
    test = split(pl.concat([bought, viewed]), "leave-one-out", repeats=True).test
    assert test.targets["timestamp"].to_list() == [START + timedelta(days=5)]
    assert pairs(test.events) == [("u", "a"), ("u", "b"), ("u", "b"), ("u", "b")]


def test_after_the_moment_the_first_success_is_asked_for_though_it_repeats_another() -> None:
    daily = [("u", f"i{day}", day) for day in range(18)]
    late = [("u", "i3", 18.5), ("u", "new", 19)]
    test = split(events(*daily, *late), "temporal", repeats=True).test  # the moment leaves 18 of 20 before it
    assert pairs(test.targets) == [("u", "i3")]
    assert pairs(test.events) == pairs(events(*daily))


def test_a_pair_stands_at_its_first_event_but_must_end_in_success_to_be_asked_for() -> None:
    bought = events(("u", "a", 1), ("u", "b", 2), ("u", "c", 5))
    viewed = events(("u", "c", 3), ("u", "d", 4), ("u", "e", 6), kind="view")
    shown = events(("u", "c", 1), kind="impression")
    test = split(pl.concat([bought, viewed, shown]), "leave-one-out").test
    assert pairs(test.targets) == [("u", "c")]  # not "d" or "e": nobody bought them
    assert test.targets["timestamp"].to_list() == [START + timedelta(days=3)]
    assert pairs(test.events) == [("u", "a"), ("u", "b")]


def test_the_temporal_split_asks_each_user_for_the_first_item_after_one_moment() -> None:
    daily = [("regular", f"i{day}", day) for day in range(16)]
    late = [("regular", "new", 17), ("regular", "i3", 17.5), ("newcomer", "i1", 18), ("newcomer", "i2", 19)]
    parts = split(events(*daily, *late), "temporal")  # 19 pairs: the repeat of i3 is none; 17 are before the moment
    assert pairs(parts.test.targets) == [("newcomer", "i1")]
    assert parts.test.as_of == START + timedelta(days=18)
    assert pairs(parts.test.events) == pairs(events(*daily, *late[:2]))
    assert pairs(parts.validation.targets) == [("regular", "i15")]
    assert pairs(parts.validation.events) == pairs(events(*daily[:15]))


def test_new_items_and_new_users_are_asked_for_too() -> None:
    old = [(f"u{n}", "old", n) for n in range(18)]
    test = split(events(*old, ("u1", "unheard of", 30), ("stranger", "old", 31)), "temporal").test
    assert pairs(test.targets) == [("stranger", "old"), ("u1", "unheard of")]


def test_ties_are_set_apart_by_a_microsecond_in_one_order_whatever_the_order_of_the_file() -> None:
    same_day = events(*[("u", f"i{n}", 1) for n in range(20)], ("u", "z", 2), ("v", "i1", 1))
    ordered = untied(same_day)
    u = ordered.filter(pl.col("user_id") == "u")
    assert u["timestamp"].is_sorted() and u["timestamp"].n_unique() == 21
    assert u["timestamp"][19] == START + timedelta(days=1, microseconds=19)
    assert u.row(20)[:2] == ("u", "z") and u["timestamp"][20] == START + timedelta(days=2)
    assert u["item_id"][:20].to_list() != sorted(u["item_id"][:20])
    assert ordered.equals(untied(same_day.sample(fraction=1.0, shuffle=True, seed=1)))
    assert ordered.filter(pl.col("user_id") == "v")["timestamp"].to_list() == [START + timedelta(days=1)]


@pytest.mark.parametrize("protocol", ["leave-one-out", "temporal"])
@pytest.mark.parametrize("n", range(8))
def test_the_text_of_the_targets_own_page_is_not_known_before_it(protocol, n: int) -> None:
    """u reads the page of each item while looking at it; whichever way the ties of this item fall."""
    looked = events(*[("u", f"i{n}{day}", day) for day in range(20)], kind="view")
    pages = looked.with_columns(item_id=pl.lit(None, dtype=pl.String), page="item_id")
    both = pl.concat([looked, pages], how="diagonal")
    for held_out in (split(both, protocol).test, split(both, protocol).validation):
        (target,) = held_out.targets["item_id"]
        known = held_out.events["page"].drop_nulls().to_list()
        assert target not in known
        assert known == held_out.events["item_id"].drop_nulls().to_list()


def a_visit() -> pl.DataFrame:
    """v's first visit comes after the moment: an old view, a view and a search, then the purchase of "wanted"."""
    daily = events(*[("u", f"i{day}", day) for day in range(18)])
    minute = 1 / 24 / 60
    looked = events(("v", "early", 20 - 45 * minute), ("v", "other", 20 - 9 * minute), kind="view")
    search = events(("v", "", 20 - 5 * minute), kind="search").with_columns(item_id=pl.lit(None, dtype=pl.String))
    return pl.concat(
        [daily, looked, search, events(("w", "i0", 18.5), ("v", "wanted", 20), ("v", "after", 20 + minute))]
    )


def test_by_time_the_visit_before_the_target_is_known_to_who_answers_but_to_no_model() -> None:
    test = split(a_visit(), "temporal").test
    assert pairs(test.targets) == [("v", "wanted"), ("w", "i0")]
    assert pairs(test.since) == [("v", "other"), ("v", None)]
    assert test.since["asked_for"].to_list() == ["wanted", "wanted"]
    assert set(test.events["user_id"]) == {"u"}
    check_no_leak(test)


def test_the_text_of_the_targets_own_page_is_no_part_of_the_visit_though_it_is_logged_before_it() -> None:
    """Searches are read a while before something is found, the text of a page with its item."""
    targets_ = targets(("v", "wanted", 20))
    second = 1 / 24 / 3600
    texts = events(("v", "", 20 - 5 * second), ("v", "", 20 - second), kind="search")
    texts = texts.with_columns(item_id=pl.lit(None, dtype=pl.String), text=pl.Series(["a lamp", "Wanted, in blue"]))
    item = events(("v", "other", 20 - second), kind="view").with_columns(text=pl.lit(None, dtype=pl.String))
    known = visits(pl.concat([texts, item]), targets_)
    assert known["text"].to_list() == ["a lamp", None]
    assert known["item_id"].to_list() == [None, "other"]


def test_where_repeats_count_nothing_of_the_visit_is_known() -> None:
    assert split(a_visit(), "temporal", repeats=True).test.since.is_empty()


def test_a_visit_that_holds_the_target_is_noticed() -> None:
    test = split(a_visit(), "temporal").test
    leaked = test.since.with_columns(item_id=pl.lit("wanted"))
    with pytest.raises(DataError, match="2 of 20 known events give away what is asked for"):
        check_no_leak(replace(test, since=leaked))


@pytest.mark.parametrize("protocol", ["leave-one-out", "temporal"])
def test_what_cannot_be_split_says_so(protocol) -> None:
    with pytest.raises(DataError, match=f"{protocol}: 0 users can be asked and"):
        split(events(("u", "a", 1), ("u", "a", 2)), protocol)
    with pytest.raises(DataError, match="0 events are left"):
        split(events(), protocol)


@given(
    st.lists(
        st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcdefghij"), st.integers(0, 9)), min_size=30, max_size=60
    ),
    st.sampled_from(["leave-one-out", "temporal"]),
    st.booleans(),
)
def test_neither_protocol_ever_learns_from_the_future(rows, protocol, repeats) -> None:
    try:
        parts = split(events(*rows), protocol, repeats)
    except DataError:
        return
    for held_out in (parts.validation, parts.test):
        check_no_leak(held_out, repeats)
        had = set(pairs(held_out.events))
        assert repeats or not had & set(pairs(held_out.targets))
        assert held_out.targets["user_id"].is_unique().all()


@pytest.mark.parametrize("protocol", ["leave-one-out", "temporal"])
@pytest.mark.parametrize("repeats", [False, True])
def test_a_future_shuffled_into_the_history_is_noticed(protocol, repeats) -> None:
    rows = events(*[(f"u{user}", f"i{(user * 3 + n) % 17}", 1 + n + user / 10) for user in range(8) for n in range(9)])
    test = split(rows, protocol, repeats).test
    check_no_leak(test, repeats)
    shuffled = rows.with_columns(pl.col("timestamp").shuffle(seed=0))
    poisoned = replace(test, events=shuffled.sample(len(test.events), seed=0))
    with pytest.raises(DataError, match="give away what is asked for"):
        check_no_leak(poisoned, repeats)


def test_the_target_itself_in_the_history_is_noticed() -> None:
    test = split(FOUR, "leave-one-out").test
    early = events(("u", "d", 0.5))
    with pytest.raises(DataError, match=r"1 of 6 known events .* \(user u, item d"):
        check_no_leak(replace(test, events=pl.concat([test.events, early])))
    check_no_leak(replace(test, events=pl.concat([test.events, early])), repeats=True)
