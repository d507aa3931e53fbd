"""Inputs of training: cuts of time, shoppers as arrays, and what is learned on held-out choices."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from storefronts import ITEM_IDS, NOON, TEXT, item_entry, tiny_model, tiny_recommender, users_with

from jobs.training.fit import Inputs, learn_fusion, learn_ranker, users_of
from jobs.training.held_out_requests import sampled
from recsys.config import Settings
from recsys.query import Query
from recsys.split import HeldOut, visits
from recsys.tables import EVENT_TYPES
from recsys.users import Users

DAY = timedelta(days=1)
WHEN = pl.Datetime("us", "UTC")
KINDS = pl.Enum(EVENT_TYPES)
READ_TEXT = np.eye(3, dtype=np.float32)[[2, 0, 1, 1]]
"""Four texts that somebody searched for: like a lamp, like a kettle, and twice like a keyboard."""


def events(*rows: tuple[str, str, str, float]) -> pl.DataFrame:
    """(user, item, type, day)"""
    return pl.DataFrame(
        [(user, item, kind, NOON + day * DAY, None) for user, item, kind, day in rows],
        schema={
            "user_id": pl.String,
            "item_id": pl.String,
            "event_type": KINDS,
            "timestamp": WHEN,
            "value": pl.Float64,
        },
        orient="row",
    )


def searches(*rows: tuple[str, float, int]) -> pl.DataFrame:
    """(user, day, text row)"""
    return pl.DataFrame(
        [(user, NOON + day * DAY, "search", text_row) for user, day, text_row in rows],
        schema={"user_id": pl.String, "timestamp": WHEN, "event_type": KINDS, "text_row": pl.Int32},
        orient="row",
    )


def shown(*rows: tuple[str, str, float]) -> pl.DataFrame:
    """(user, item, day) on the first place."""
    return pl.DataFrame(
        [(user, item, NOON + day * DAY, 0) for user, item, day in rows],
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": WHEN, "position": pl.Int32},
        orient="row",
    )


def inputs(**parts: Any) -> Inputs:
    """The tiny storefront in which nothing has happened, but for `parts`."""
    items = pl.DataFrame({"item_id": ITEM_IDS, "title": ITEM_IDS, "available": [True] * 5})
    nothing = Inputs(items, events(), shown(), TEXT, searches(), READ_TEXT)
    return replace(nothing, **parts)


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings.model_validate(sections)


def test_a_cut_leaves_what_happened_before_it() -> None:
    whole = inputs(
        events=events(("u", "lamp", "view", 1), ("u", "mouse", "view", 2)),
        impressions=shown(("u", "lamp", 1), ("u", "mouse", 2), ("u", "mouse", 3)),
        read=searches(("u", 0, 0), ("u", 2, 1)),
    )
    known = whole.before(NOON + 2 * DAY)
    assert known.events["item_id"].to_list() == ["lamp"]
    assert known.impressions["item_id"].to_list() == ["lamp"]
    assert known.read["text_row"].to_list() == [0]
    assert known.items is whole.items and known.text is whole.text and known.read_text is whole.read_text


def entries(users: Users, user_id: str) -> list[str | list[float]]:
    """Item ids, and vectors of texts."""
    history = users.history(user_id)
    return [
        ITEM_IDS[item_row] if item_row >= 0 else users.texts[text_row].tolist()
        for item_row, text_row in zip(history.item_rows, history.text_rows, strict=True)
    ]


def test_shoppers_come_with_the_vectors_of_the_texts_they_read() -> None:
    data = inputs(
        events=events(("ann", "lamp", "view", 1), ("bob", "mouse", "purchase", 1)),
        read=searches(("ann", 0, 2), ("cat", 1, 0)),
    )
    table, users = users_of(data, settings())
    assert table["user_id"].to_list() == list(users.rows) == ["ann", "bob", "cat"]
    assert entries(users, "ann") == [[0, 1, 0], "lamp"]
    assert entries(users, "bob") == ["mouse"]
    assert entries(users, "cat") == [[0, 0, 1]]
    np.testing.assert_allclose(users.browsing, [[0, 1, 0], [0, 0, 0], [0, 0, 1]])


def test_only_texts_that_a_history_still_holds_are_kept_and_counted_anew() -> None:
    data = inputs(read=searches(("ann", 0, 0), ("ann", 1, 1), ("ann", 2, 3), ("bob", 0, 3)))
    table, users = users_of(data, settings(embed={"max_browsing_texts": 2}))
    np.testing.assert_array_equal(users.texts, READ_TEXT[[1, 3]])
    assert [[entry["text_row"] for entry in history] for history in table["history"].to_list()] == [[0, 1], [1]]
    assert entries(users, "ann") == [[1, 0, 0], [0, 1, 0]]


def test_the_newest_items_are_kept() -> None:
    data = inputs(events=events(*[("ann", item_id, "view", day) for day, item_id in enumerate(ITEM_IDS)]))
    _, users = users_of(data, settings(interactions={"max_history": 2}))
    assert entries(users, "ann") == ITEM_IDS[-2:]


@pytest.mark.parametrize("read", [searches(), searches(("ann", 0, 0))], ids=["nothing", "a text"])
def test_without_events_there_are_only_readers(read: pl.DataFrame) -> None:
    table, users = users_of(inputs(read=read), settings())
    assert len(table) == len(users.rows) == len(read)
    assert users.texts.shape == (len(read), 3)
    assert users.browsing.shape == (len(read), 3)


USERS = [f"u{n}" for n in range(24)]
ASKED_AT = NOON + DAY


def shoppers() -> Users:
    """All of them bought a keyboard, and are shown what goes with it: the mouse first, the lamp somewhere behind."""
    return users_with({user_id: [item_entry("keyboard")] for user_id in USERS})


def choices(item_id: str, users: list[str] = USERS, since: pl.DataFrame | None = None) -> HeldOut:
    """Each of the users chose the item an hour after the model was made. since: what they did from then on."""
    chosen = {"user_id": users, "item_id": [item_id] * len(users)}
    targets = pl.DataFrame(chosen).with_columns(timestamp=pl.lit(ASKED_AT + timedelta(hours=1)))
    done = pl.concat([events(), searches()], how="diagonal") if since is None else since
    return HeldOut(events(), targets, ASKED_AT, visits(done, targets))


RANKING = settings(ranking={"min_targets": 20, "min_leaf": 2, "trees": 10})


def ranker_of(held_out: HeldOut, ranking: Settings = RANKING):
    return learn_ranker(inputs(), tiny_model(), shoppers(), held_out, ranking)


def test_a_ranker_that_beats_the_weighted_sum_is_kept_and_puts_first_what_was_chosen() -> None:
    ranker = ranker_of(choices("lamp"))
    assert ranker is not None and list(ranker.names) == tiny_recommender().feature_names
    query = Query(user_id="u0", asked_at=ASKED_AT)
    before, after = (
        tiny_recommender(users=shoppers(), ranker=with_ranker).recommend([query])[0] for with_ranker in (None, ranker)
    )
    assert before.items[0].item_id == "mouse"
    assert after.items[0].item_id == "lamp"


def test_a_ranker_that_is_no_better_is_left_out() -> None:
    assert ranker_of(choices("mouse")) is None


def test_of_each_shopper_the_first_choice_counts_and_with_few_shoppers_there_is_no_ranker() -> None:
    assert ranker_of(choices("lamp", USERS[:19])) is None
    assert ranker_of(choices("lamp", USERS[:10] * 2)) is None
    assert ranker_of(choices("lamp", USERS[:20])) is not None


def test_shoppers_of_whom_nothing_is_known_teach_no_ranker() -> None:
    assert ranker_of(choices("lamp", [f"stranger{n}" for n in range(24)])) is None


def test_where_no_source_proposes_what_was_chosen_there_is_no_ranker() -> None:
    assert ranker_of(choices("keyboard")) is None  # which they have, and are not shown again


def test_a_ranker_is_one_for_equal_input() -> None:
    assert ranker_of(choices("lamp")) == ranker_of(choices("lamp"))


def fusion_of(held_out: HeldOut, **changes: Any):
    changed = settings(fusion={"min_targets": 20})
    return learn_fusion(inputs(), tiny_model(**changes), shoppers(), held_out, changed)


def test_the_fusion_learns_what_the_choices_follow() -> None:
    """The lamp sells best of late: weights that see it put it first."""
    lately = {"trend": np.array([0.1, 0.1, 3.0, 0.1, 0.1], dtype=np.float32)}
    fusion = fusion_of(choices("lamp"), **lately)
    query = Query(user_id="u0", asked_at=ASKED_AT)
    before, after = (
        tiny_recommender(users=shoppers(), **lately, **changes).recommend([query])[0]
        for changes in ({}, {"fusion": fusion})
    )
    assert before.items[0].item_id == "mouse"
    assert (after.items[0].item_id, after.items[0].source) == ("lamp", "trending")


SEARCHED_FOR_A_KETTLE = pl.concat(
    [events(), searches(*[(user_id, 1 + 50 / 60 / 24, 1) for user_id in USERS])], how="diagonal"
)


@pytest.mark.parametrize(("chosen", "least", "most"), [("kettle", 0.5, 1.0), ("lamp", 0.02, 0.1)])
def test_the_fusion_learns_how_much_what_was_just_searched_for_counts(chosen: str, least: float, most: float) -> None:
    lately = {"trend": np.array([0.1, 0.1, 3.0, 0.1, 0.1], dtype=np.float32)}  # nobody searches for the lamp
    assert least <= fusion_of(choices(chosen, since=SEARCHED_FOR_A_KETTLE), **lately).session_text <= most
    assert fusion_of(choices(chosen), **lately).session_text == 1.0


def test_a_ranker_knows_a_search_only_where_it_has_met_one() -> None:
    half = SEARCHED_FOR_A_KETTLE.filter(pl.col("user_id").is_in(USERS[::2]))
    held_out = choices("lamp", since=half)
    kettle = pl.when(pl.col("user_id").is_in(USERS[::2])).then(pl.lit("kettle")).otherwise(pl.lit("lamp"))
    targets = held_out.targets.with_columns(item_id=kettle)
    ranker = ranker_of(replace(held_out, targets=targets, since=visits(half, targets)))
    assert ranker is not None and ranker.reads("query_text")
    without = ranker_of(choices("lamp"))
    assert without is not None and not without.reads("query_text")


def test_with_few_choices_the_fusion_stays_as_it_is() -> None:
    assert fusion_of(choices("lamp", USERS[:19])) == tiny_model().fusion


def test_targets_are_drawn_in_the_order_they_had() -> None:
    held_out = choices("lamp", [f"u{n:03}" for n in range(100)])
    drawn = sampled(held_out, 10, seed=3).targets
    assert len(drawn) == 10 and drawn["user_id"].is_sorted()
    assert drawn.equals(sampled(held_out, 10, seed=3).targets)
    assert sampled(held_out, 100, seed=3).targets.equals(held_out.targets)
