from __future__ import annotations

import numpy as np
import polars as pl

from features.finetune.choices import choices, place_of
from features.finetune.held_out import place
from features.finetune.pairs import Pairs


def pairs(*rows: tuple[str, str, str]) -> pl.DataFrame:
    named = pl.DataFrame(rows, schema=["kind", "anchor", "positive"], orient="row", strict=False)
    return named.with_columns(
        negative=pl.lit(None), anchor_item=pl.lit(None), positive_item="positive", negative_item=pl.lit(None)
    ).cast(dict(Pairs.create_empty().schema))


def histories(**by_user: str) -> pl.DataFrame:
    rows = [(user, text) for user, texts in by_user.items() for text in texts.split()]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "text": pl.String}, orient="row")


NOBODY = histories()


def test_each_item_is_chosen_by_what_came_before_it_the_latest_counting_most() -> None:
    learned = choices(pairs(), histories(u1="a b c", u2="c", u3="b a"), decay=0.5, held_out=0.0, seed=0)
    assert learned.texts == ["a", "b", "c"]
    np.testing.assert_array_equal(learned.queries.toarray(), [[1, 0, 0], [0.5, 1, 0], [0, 1, 0]])
    assert learned.chosen.tolist() == [1, 2, 0]


def test_what_was_met_before_is_no_choice() -> None:
    learned = choices(pairs(), histories(u1="a b a c"), decay=0.5, held_out=0.0, seed=0)
    assert [learned.texts[row] for row in learned.chosen] == ["b", "c"]


def test_pairs_of_other_kinds_are_choices_and_adjacent_ones_say_how_many_histories_give() -> None:
    related = pairs(("query", "quiet", "a"), ("adjacent", "a", "b"), ("adjacent", "b", "c"))
    learned = choices(related, histories(u1="a b c d e f g"), decay=0.5, held_out=0.0, seed=0)
    assert len(learned) == 2 + 1
    assert learned.queries[2].indices.tolist() == [learned.texts.index("quiet")]
    assert learned.texts[learned.chosen[2]] == "a"


def test_of_what_is_held_out_nothing_is_read() -> None:
    words = [f"w{number}" for number in range(200)]
    queries = pairs(*(("query", f"q{word}", word) for word in words))
    learned = choices(queries, histories(u1=" ".join(words)), decay=0.5, held_out=0.3, seed=0)
    anchors = {learned.texts[row] for row in learned.queries.indices}
    assert anchors and min(place(anchors)) >= 0.3
    assert {word for word in words if place([f"q{word}"])[0] >= 0.3} <= set(learned.texts)


def test_without_histories_and_pairs_there_are_none() -> None:
    learned = choices(pairs(), NOBODY, decay=0.5, held_out=0.0, seed=0)
    assert len(learned) == 0 and learned.queries.shape == (0, 0)


def test_texts_fall_where_the_held_out_pairs_say() -> None:
    texts = pl.Series(["a", "b", "a"])
    np.testing.assert_array_equal(place_of(texts), place(texts))
