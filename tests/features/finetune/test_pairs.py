"""Pairs of small shops, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.finetune.pairs import systematic_sample, training_pairs
from recsys import config
from recsys.errors import DataError
from recsys.tables import EVENT_TYPES

START = datetime(2025, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=100)
ALL = config.PairsSettings(negative_pool=0)
EVENT_SCHEMA = {
    "user_id": pl.String,
    "item_id": pl.String,
    "event_type": pl.Enum(EVENT_TYPES),
    "timestamp": pl.Datetime("us", "UTC"),
    "session_id": pl.String,
    "text": pl.String,
    "value": pl.Float64,
}
REVIEW_SCHEMA = {
    "review_id": pl.String,
    "item_id": pl.String,
    "title": pl.String,
    "text": pl.String,
    "timestamp": pl.Datetime("us", "UTC"),
}
NO_REVIEWS = pl.DataFrame(schema=REVIEW_SCHEMA)


def minute(n: float) -> datetime:
    return START + timedelta(minutes=n)


def events(*rows: dict) -> pl.DataFrame:
    """Purchases unless said otherwise, a minute apart in the order given."""
    full = [{"user_id": "u", "event_type": "purchase", "timestamp": minute(n), **row} for n, row in enumerate(rows)]
    return pl.DataFrame(full, schema=EVENT_SCHEMA)


def bought(user_id: str, item_ids: str) -> list[dict]:
    return [{"user_id": user_id, "item_id": item_id} for item_id in item_ids]


def items(*item_ids: str, **texts: str) -> pl.DataFrame:
    """Items whose text is "text of ID", without titles and descriptions."""
    return pl.DataFrame(
        {"item_id": item_ids, "text": [texts.get(item_id, f"text of {item_id}") for item_id in item_ids]}
    ).with_columns(title=pl.lit(None, dtype=pl.String), description=pl.lit(None, dtype=pl.String))


def reviews(*rows: tuple[str, str], at: datetime = START) -> pl.DataFrame:
    full = [
        {"review_id": str(n), "item_id": item_id, "title": None, "text": text, "timestamp": at}
        for n, (item_id, text) in enumerate(rows)
    ]
    return pl.DataFrame(full, schema=REVIEW_SCHEMA)


def pairs_from(
    happened: pl.DataFrame,
    known: pl.DataFrame,
    written: pl.DataFrame = NO_REVIEWS,
    settings: config.PairsSettings = ALL,
    vectors: np.ndarray | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    return training_pairs(happened, known, written, vectors, AS_OF, settings, seed)


def item_pairs(pairs: pl.DataFrame) -> list[tuple[str, str]]:
    return sorted(pairs.select("anchor_item", "positive_item").iter_rows())


def test_items_near_in_a_history_are_paired_the_earlier_first() -> None:
    settings = ALL.model_copy(update={"max_steps_apart": 2})
    pairs = pairs_from(events(*bought("u", "abcd")), items(*"abcd"), settings=settings)
    assert item_pairs(pairs) == [("a", "b"), ("a", "c"), ("b", "c"), ("b", "d"), ("c", "d")]
    assert pairs.filter(anchor_item="a", positive_item="c").select("kind", "anchor", "positive", "negative").row(0) == (
        "adjacent",
        "text of a",
        "text of c",
        None,
    )


def test_only_what_a_shopper_was_after_makes_a_history() -> None:
    happened = events(
        {"item_id": "a", "event_type": "view"},
        {"item_id": "x", "event_type": "impression"},
        {"item_id": "a", "event_type": "cart"},  # again the same item: no step
        {"item_id": "x", "event_type": "rating", "value": 3.0},
        {"item_id": "x", "event_type": "return"},
        {"item_id": "gone"},
        {"item_id": "b", "event_type": "rating", "value": 4.0},
    )
    settings = ALL.model_copy(update={"max_steps_apart": 1})
    assert item_pairs(pairs_from(happened, items("a", "b", "x"), settings=settings)) == [("a", "b")]


def test_histories_of_two_shoppers_do_not_touch() -> None:
    happened = events(*bought("u", "ab"), *bought("v", "cd"))
    assert item_pairs(pairs_from(happened, items(*"abcd"))) == [("a", "b"), ("c", "d")]


def test_only_the_newest_entries_of_a_history_count() -> None:
    settings = ALL.model_copy(update={"max_history": 2})
    assert item_pairs(pairs_from(events(*bought("u", "abcd")), items(*"abcd"), settings=settings)) == [("c", "d")]


def test_nothing_from_the_day_itself_or_later_is_learned() -> None:
    happened = events(*bought("u", "ab"), {"item_id": "c", "timestamp": AS_OF})
    late = reviews(("a", "so good"), at=AS_OF)
    known = items(*"abc").with_columns(title=pl.lit("a title"))
    assert item_pairs(pairs_from(happened, known, late)) == [("a", "b")]


@pytest.mark.parametrize(
    ("search", "click", "belong"),
    [
        ({"session_id": "s"}, {"session_id": "s", "timestamp": minute(300)}, True),
        ({"session_id": "s"}, {"session_id": "t"}, False),
        ({}, {"timestamp": minute(30)}, True),
        ({}, {"timestamp": minute(31)}, False),
        ({"session_id": "s"}, {"timestamp": minute(30)}, True),
        ({}, {"user_id": "other"}, False),
        ({}, {"timestamp": minute(-1)}, False),
        ({}, {"event_type": "impression"}, False),
        ({"item_id": "a"}, {"user_id": "other"}, True),
    ],
)
def test_a_search_belongs_to_what_followed_it(search: dict, click: dict, belong: bool) -> None:
    happened = events(
        {"event_type": "search", "text": "red  <b>bag</b>", **search},
        {"item_id": "a", "event_type": "click", **click},
        *bought("w", "bc"),
    )
    pairs = pairs_from(happened, items(*"abc")).filter(kind="query").select("anchor", "positive_item", "anchor_item")
    assert pairs.rows() == ([("red bag", "a", None)] if belong else [])


def test_a_click_belongs_to_the_last_search_only() -> None:
    happened = events(
        {"event_type": "search", "text": "bag"},
        {"event_type": "search", "text": "shoe"},
        {"item_id": "a", "event_type": "click"},
    )
    assert pairs_from(happened, items("a"))["anchor"].to_list() == ["shoe"]


def test_a_review_goes_with_the_catalogues_words_not_with_other_reviews() -> None:
    known = items("a", "b", a="Bag. Fine strap, it lasts.").with_columns(title=pl.Series(["<b>Bag</b>", None]))
    pairs = pairs_from(events(), known, reviews(("a", "Fine strap, it lasts."), ("b", "no words in the catalogue")))
    assert pairs.select("kind", "anchor", "positive", "positive_item").rows() == [
        ("review", "Fine strap, it lasts.", "Bag", "a")
    ]


def test_a_title_goes_with_its_description() -> None:
    known = items(*"abc").with_columns(
        title=pl.Series(["Bag", "Shoe", None]), description=pl.Series(["Of leather.", "", "Of wood."])
    )
    pairs = pairs_from(events(), known)
    assert pairs.select("kind", "anchor", "positive", "anchor_item").rows() == [
        ("description", "Bag", "Of leather.", "a")
    ]


def test_words_of_titles_are_searches_for_all_that_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.finetune.pairs.COMMON_SHARE", 0.5)
    titles = ["Red Bag", "Red Shoe", "A Bag of red wool", "Lamp", None, "!"]
    known = items(*"abcdef").with_columns(title=pl.Series(titles))
    settings = ALL.model_copy(update={"title": 1.0})
    words = {item_id: set((title or "").lower().split()) for item_id, title in zip("abcdef", titles, strict=True)}
    having: dict[str, set[str]] = {}
    for seed in range(20):
        pairs = pairs_from(events(), known, settings=settings, seed=seed)
        assert pairs.equals(pairs_from(events(), known, settings=settings, seed=seed))
        for anchor, item_id in pairs.filter(kind="title").select("anchor", "positive_item").iter_rows():
            having.setdefault(anchor, set()).add(item_id)
    assert {"lamp", "shoe", "bag", "bag wool"} <= having.keys()
    assert "red" not in " ".join(having)  # which more than half of the titles have
    for anchor, item_ids in having.items():
        assert item_ids == {item_id for item_id, title in words.items() if title >= set(anchor.split())}


def test_searches_are_made_up_only_where_they_are_asked_for() -> None:
    known = items("a", "b").with_columns(title=pl.Series(["Bag", "Shoe"]), description=pl.Series(["Of wool.", None]))
    assert set(pairs_from(events(), known)["kind"]) == {"description"}


def test_items_of_one_text_or_none_are_no_pair() -> None:
    happened = events(*bought("u", "abc"))
    assert item_pairs(pairs_from(happened, items(*"abc", a="same", b="same"))) == [("a", "c"), ("b", "c")]
    assert item_pairs(pairs_from(happened, items(*"abc", b=""))) == [("a", "c")]


def test_shares_say_how_many_of_each_kind_are_drawn() -> None:
    happened = events(*(row for user in range(40) for row in bought(f"u{user}", "ab" if user % 2 else "cd")))
    known = items(*"abcd").with_columns(title=pl.lit("title"), description=pl.lit("words"))
    written = reviews(*((item, f"review {n}") for n, item in enumerate("abcd" * 5)))
    settings = ALL.model_copy(update={"max_pairs": 12, "adjacent": 1.0, "review": 1.0, "description": 0.0})
    kinds = pairs_from(happened, known, written, settings)["kind"].value_counts().sort("kind")
    # Half of twelve each; of adjacent ones there are only two.
    assert kinds.rows() == [("adjacent", 2), ("review", 6)]


def test_debiasing_draws_rare_items_more() -> None:
    # 90 reviews of a popular item and 10 of a rare one.
    written = reviews(*(("a" if n % 10 else "b", f"review {n}") for n in range(100)))
    known = items("a", "b").with_columns(title=pl.Series(["bag", "shoe"]))

    def of_popular(power: float) -> int:
        settings = ALL.model_copy(update={"max_pairs": 40, "debias_power": power})
        pairs = pairs_from(events(), known, written, settings)
        assert pairs.height == 40
        return pairs.filter(positive_item="a").height

    assert of_popular(0.0) == pytest.approx(36, abs=2)
    # Together they weigh 90 / sqrt(90) and 10 / sqrt(10): of 40 draws 30 are of the popular one.
    assert of_popular(1.0) == pytest.approx(30, abs=2)


def test_systematic_samples_have_the_expected_counts() -> None:
    weights = np.array([1.0, 3.0, 0.5, 3.5])
    drawn = np.bincount(systematic_sample(weights, 8, np.random.default_rng(0)), minlength=4)
    assert drawn.sum() == 8
    np.testing.assert_array_less(np.abs(drawn - weights), 1.0)
    assert systematic_sample(np.ones(5), 5, np.random.default_rng(1)).tolist() == [0, 1, 2, 3, 4]
    assert len(systematic_sample(np.empty(0), 3, np.random.default_rng(0))) == 0


def unit(*angles: float) -> np.ndarray:
    """Items on a circle: text similarity is nearness in degrees."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


NEGATIVES = config.PairsSettings(negative_pool=2, negative_shoppers=2, max_steps_apart=1)
BASKETS = events(*(row for n in range(3) for row in (*bought(f"u{n}", "ab"), *bought(f"v{n}", "cd"))))
"""Three shoppers bought a and b, three others c and d."""


def negatives_of(item_id: str, pairs: pl.DataFrame) -> set[str | None]:
    return set(pairs.filter(anchor_item=item_id)["negative_item"])


def test_a_hard_negative_reads_alike_but_is_bought_by_others() -> None:
    # By text a's nearest are b, which the same shoppers bought, and c; d is far.
    pairs = pairs_from(BASKETS, items(*"abcd"), settings=NEGATIVES, vectors=unit(0, 5, 10, 90))
    assert negatives_of("a", pairs) == {"c"}
    assert pairs.filter(anchor_item="a")["negative"].to_list() == ["text of c"]
    # c's nearest are a and b, both unrelated: one of them.
    assert negatives_of("c", pairs) <= {"a", "b"}


def test_no_negative_has_the_text_of_the_anchor_or_the_positive() -> None:
    others = events(*(row for n in range(3) for row in bought(f"w{n}", "ef")))
    known = items(*"abcdef", c="text of a")
    pairs = pairs_from(pl.concat([BASKETS, others]), known, settings=NEGATIVES, vectors=unit(0, 50, 1, 90, 2, 100))
    assert set(pairs.filter(anchor_item="a", positive_item="b")["negative_item"]) == {"e"}
    known = items(*"abcd", c="text of b")
    only_c = NEGATIVES.model_copy(update={"negative_pool": 1})
    assert negatives_of("a", pairs_from(BASKETS, known, settings=only_c, vectors=unit(0, 50, 1, 90))) == {None}


def test_items_that_few_had_are_neither_negatives_nor_get_any() -> None:
    happened = pl.concat([BASKETS, events(*bought("w", "ef"))])
    pairs = pairs_from(happened, items(*"abcdef"), settings=NEGATIVES, vectors=unit(0, 80, 90, 100, 1, 2))
    assert negatives_of("e", pairs) == {None}
    assert negatives_of("a", pairs) == {"c"}  # its nearest two are b and c, now that e and f do not count


def test_a_positive_of_the_same_query_is_no_negative() -> None:
    # Shoppers of a and c never overlap, but both were clicked after "bag".
    searches = [
        {"user_id": user, "event_type": "search", "text": "bag", "item_id": item, "timestamp": minute(900)}
        for user, item in (("x", "a"), ("y", "c"))
    ]
    happened = pl.concat([BASKETS, events(*searches)])
    pairs = pairs_from(happened, items(*"abcd"), settings=NEGATIVES, vectors=unit(0, 5, 1, 90)).filter(kind="query")
    assert pairs.filter(positive_item="a")["negative_item"].to_list() == [None]
    assert pairs.filter(positive_item="c")["negative_item"].to_list() == ["b"]


def test_more_cooccurrence_may_be_allowed() -> None:
    happened = pl.concat([BASKETS, events(*bought("w", "ac"))])  # one shopper of a and c: cosine 1 / 4
    nearest = {"negative_pool": 1}
    strict = NEGATIVES.model_copy(update=nearest)
    loose = NEGATIVES.model_copy(update={**nearest, "max_cooccurrence": 0.3})
    vectors = unit(0, 50, 1, 90)
    assert negatives_of("a", pairs_from(happened, items(*"abcd"), settings=strict, vectors=vectors)) == {None}
    # For the pair of a and c itself, c is a positive.
    assert negatives_of("a", pairs_from(happened, items(*"abcd"), settings=loose, vectors=vectors)) == {None}
    assert negatives_of("c", pairs_from(happened, items(*"abcd"), settings=loose, vectors=vectors)) == {"a"}


def test_a_negative_is_of_the_sort_of_the_positive() -> None:
    known = items(*"abcd").with_columns(title=pl.Series(list("ABCD")), description=pl.Series(["1", "2", "3", None]))
    pairs = pairs_from(BASKETS, known, reviews(("a", "nice")), NEGATIVES, unit(0, 5, 10, 90))
    of_a = pairs.filter(positive_item="a").select("kind", "negative").sort("kind").rows()
    assert of_a == [("review", "C 3"), ("description", "3")]
    # b's nearest two are a, its own shoppers', and c; where the negative has no such text there is none.
    far = pairs.filter((pl.col("kind") == "description") & (pl.col("negative_item") == "d"))
    assert far.is_empty()


def test_equal_seeds_draw_equal_pairs() -> None:
    rng, letters = np.random.default_rng(5), "abcdefghijklmnopqrst"
    happened = events(*(row for n in range(60) for row in bought(f"u{n}", "".join(rng.choice(list(letters), 4)))))
    settings = config.PairsSettings(max_pairs=30, negative_shoppers=1)
    vectors = unit(*range(20))

    def draw(seed: int) -> pl.DataFrame:
        return pairs_from(happened, items(*letters), settings=settings, vectors=vectors, seed=seed)

    assert draw(1).equals(draw(1))
    assert not draw(1).equals(draw(2))
    assert draw(1)["negative_item"].null_count() < 30


def test_without_pairs_it_says_what_is_missing() -> None:
    with pytest.raises(DataError, match=r"no pairs to tune on before 2025-04-11: 2 items, none with a title.*ingest"):
        pairs_from(events(), items("a", "b"))
    with pytest.raises(DataError, match=r"with the shares of adjacent in finetune\.pairs, none of"):
        pairs_from(events(*bought("u", "ab")), items("a", "b"), settings=ALL.model_copy(update={"adjacent": 0.0}))
