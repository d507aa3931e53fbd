"""Texts of items, reviews and browsing: their parts, the token budget, and the sentences chosen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.text.cleaning import text_hash
from features.text.documents import browsing_texts, item_texts, newest_reviews, review_texts, spell_review
from features.text.sentences import choose_sentences, split_sentences
from recsys.config import TextSettings

DAY_0 = datetime(2024, 1, 1, tzinfo=UTC)


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def reviews_of(rows: list[tuple[str, str | None, str | None]]) -> pl.DataFrame:
    """(item_id, title, text) rows, each a day newer than the one before."""
    return pl.DataFrame(
        [(f"r{i:03}", item, title, text, DAY_0 + timedelta(days=i)) for i, (item, title, text) in enumerate(rows)],
        schema={
            "review_id": pl.String,
            "item_id": pl.String,
            "title": pl.String,
            "text": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )


NO_REVIEWS = reviews_of([])


def text_of(items: dict[str, list[str | None]], reviews: pl.DataFrame = NO_REVIEWS, **settings: float) -> list[str]:
    frame = item_texts(pl.DataFrame(items), reviews, TextSettings(**settings), count_words)  # type: ignore[arg-type]
    assert frame["item_id"].to_list() == items["item_id"]
    assert frame["text_hash"].to_list() == [text_hash(text) for text in frame["text"]]
    return frame["text"].to_list()


def test_parts_follow_one_another_by_importance() -> None:
    items: dict[str, list[str | None]] = {
        "item_id": ["a"],
        "description": ["Keeps tea warm."],
        "attributes": ['{"color": "red", "sizes": [1, 2], "dishwasher": true, "gift": false, "note": null}'],
        "brand": ["Acme"],
        "category": ["Home > Kitchen"],
        "title": ["<b>Tea</b> pot"],
    }
    reviews = reviews_of([("a", None, "The spout of this pot never drips.")])
    assert text_of(items, reviews) == [
        (
            "Tea pot\nHome > Kitchen\nAcme\ncolor: red; sizes: 1, 2; dishwasher\nKeeps tea warm.\n"
            "The spout of this pot never drips."
        )
    ]


@pytest.mark.parametrize("attributes", ["red, large", "[1, 2]", '{"broken'])
def test_attributes_that_are_no_json_object_are_read_as_text(attributes: str) -> None:
    assert text_of({"item_id": ["a"], "attributes": [attributes]}) == [attributes]


def test_any_subset_of_the_parts_makes_a_text_and_none_makes_the_empty_text() -> None:
    items: dict[str, list[str | None]] = {"item_id": ["title", "reviews", "nothing"], "title": ["Cup", None, None]}
    reviews = reviews_of([("reviews", "Solid cup", None), ("elsewhere", None, "Not an item of this table.")])
    assert text_of(items, reviews) == ["Cup", "Solid cup", ""]


def test_a_catalogue_without_rows_makes_no_texts() -> None:
    empty = pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})
    assert item_texts(empty, NO_REVIEWS, TextSettings(), count_words).columns == ["item_id", "text", "text_hash"]


def test_a_long_title_is_cut_between_words_at_the_budget() -> None:
    title = " ".join(f"w{i}" for i in range(50))
    assert text_of({"item_id": ["a"], "title": [title]}, token_budget=10) == [" ".join(title.split()[:10])]


def test_long_attributes_leave_half_of_the_budget_to_the_prose() -> None:
    items: dict[str, list[str | None]] = {
        "item_id": ["a"],
        "attributes": [" ".join(f"a{i}" for i in range(50))],
        "description": [" ".join(f"d{i}" for i in range(20))],
    }
    attributes, description = text_of(items, token_budget=20)[0].split("\n")
    assert (len(attributes.split()), len(description.split())) == (10, 10)


@pytest.mark.parametrize(("share", "n_words"), [(0.0, 0), (0.25, 5), (0.5, 10), (1.0, 20)])
def test_beside_a_description_reviews_get_their_share_at_most(share: float, n_words: int) -> None:
    items: dict[str, list[str | None]] = {"item_id": ["a"], "description": ["desc " * 100]}
    reviews = reviews_of([("a", None, f"spout{i} lid{i} handle{i} base{i} steel{i}.") for i in range(10)])
    words = text_of(items, reviews, token_budget=20, review_share=share)[0].split()
    assert len(words) == 20
    assert sum(word != "desc" for word in words) == n_words


def test_room_that_reviews_do_not_need_goes_to_the_description() -> None:
    items: dict[str, list[str | None]] = {"item_id": ["a"], "description": ["desc " * 100]}
    words = text_of(items, reviews_of([("a", None, "Never drips.")]), token_budget=20)[0].split()
    assert len(words) == 20
    assert words[-2:] == ["Never", "drips."]


PROSE = st.lists(st.text(st.sampled_from("ab Đ.,!?\n<>&你 "), max_size=80), max_size=4)


@given(st.text(max_size=60), st.text(max_size=300), PROSE, st.integers(8, 40), st.floats(0, 1))
def test_no_text_is_over_the_budget(title: str, description: str, quoted: list[str], budget: int, share: float) -> None:
    items: dict[str, list[str | None]] = {"item_id": ["a"], "title": [title], "description": [description]}
    reviews = reviews_of([("a", None, text) for text in quoted])
    text = text_of(items, reviews, token_budget=budget, review_share=share)[0]
    assert len(text.split()) <= budget


def test_a_notice_in_most_descriptions_is_left_out() -> None:
    notice = "We deliver within two days."
    n_items = 40
    items: dict[str, list[str | None]] = {
        "item_id": [f"i{i}" for i in range(n_items)],
        "description": [f"A cup of kind {i}. {notice}" for i in range(n_items)],
    }
    assert text_of(items) == [f"A cup of kind {i}." for i in range(n_items)]


def test_only_the_newest_reviews_are_read() -> None:
    reviews = reviews_of([("a", None, "Old words about leather."), ("a", None, "New words about rubber.")])
    assert text_of({"item_id": ["a"]}, reviews, max_reviews_read=1) == ["New words about rubber."]
    assert text_of({"item_id": ["a"]}, reviews, max_reviews_read=0) == [""]


def test_what_is_said_of_this_item_and_not_of_all_comes_first() -> None:
    praise = "I really love it and would buy it again any time."
    about = {
        "pedal": ["The tremolo pedal has a rich deep sound.", "Its tremolo sound stays rich at every depth setting."],
        "stand": ["The violin stand folds into a small bag.", "This stand holds a violin or viola without slipping."],
        "strap": ["The leather strap stays put on the shoulder.", "Its leather is soft and the strap never slips off."],
    }
    reviews = reviews_of([(item, None, f"{praise} {text}") for item, sentences in about.items() for text in sentences])
    chosen = choose_sentences(reviews, per_item=2)
    assert {item: set(sentences) for item, sentences in chosen.items()} == {
        item: set(sentences) for item, sentences in about.items()
    }


def test_the_same_thing_is_not_said_twice() -> None:
    reviews = reviews_of(
        [
            ("a", None, "The battery lasts for two whole days."),
            ("a", None, "the battery lasts for two whole days!!!"),
            ("a", None, "The battery lasts for two whole days really."),
            ("a", None, "Its screen is hard to read in sunlight."),
        ]
    )
    chosen = choose_sentences(reviews, per_item=4)["a"]
    assert len(chosen) == 2
    assert "Its screen is hard to read in sunlight." in chosen


def test_choice_does_not_depend_on_the_order_of_items() -> None:
    rows = [("a", None, "The lid closes tightly. It leaks."), ("b", None, "A warm blanket. It sheds hair everywhere.")]
    assert choose_sentences(reviews_of(rows), 2) == choose_sentences(reviews_of(rows[::-1]), 2)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It works. I like it!  Really?", ["It works.", "I like it!", "Really?"]),
        ("Made in the U.S. by hand.", ["Made in the U.S. by hand."]),
        ("It costs 3.5 dollars", ["It costs 3.5 dollars"]),
        ("Space forgotten.The cable works.", ["Space forgotten.", "The cable works."]),
        (
            "Dùng rất thích! Thấm nhanh, không nhờn…\nSẽ mua lại",
            ["Dùng rất thích!", "Thấm nhanh, không nhờn…", "Sẽ mua lại"],
        ),
        ("很好用。会再买！", ["很好用。", "会再买！"]),
        ("👍👍\n---\n", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_say(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_a_run_on_sentence_is_cut_at_a_comma() -> None:
    first, second = ("go " * 20).strip() + ",", ("on " * 20).strip()
    assert split_sentences(f"{first} {second}") == [first, second]


def test_review_text_joins_title_and_text_and_drops_empty_reviews() -> None:
    reviews = reviews_of([("a", "Great", "Works."), ("a", "Great!", "Works."), ("a", None, "👍"), ("a", " ", None)])
    assert review_texts(reviews).rows() == [
        ("r000", "Great. Works.", text_hash("Great. Works.")),
        ("r001", "Great! Works.", text_hash("Great! Works.")),
        ("r002", "👍", text_hash("👍")),
    ]


REVIEWS = [  # title, text, the text that is embedded, its hash, and the lines that are split into sentences
    (
        "Great kettle",
        "Boils in two minutes.<br /><br />The lid is &quot;tight&quot; &amp; it doesn&#39;t drip.",
        'Great kettle. Boils in two minutes. The lid is "tight" & it doesn\'t drip.',
        "9d73ac7debf40c9d0d377c5c702154ed",
        'Great kettle\nBoils in two minutes.\n\nThe lid is "tight" & it doesn\'t drip.',
    ),
    (
        "Love it!!",
        "I <3 this, 2 < 3 & 5 > 4",
        "Love it!! I <3 this, 2 < 3 & 5 > 4",
        "0b8fe16500e81586ba3ec91f7ef9af32",
        "Love it!!\nI <3 this, 2 < 3 & 5 > 4",
    ),
    (
        None,
        "Ấm rất tốt. Giao hàng nhanh!\nSẽ ủng hộ tiếp ạ",
        "Ấm rất tốt. Giao hàng nhanh! Sẽ ủng hộ tiếp ạ",
        "f2776908c6f11ed9683ef67e5259acd8",
        "Ấm rất tốt. Giao hàng nhanh!\nSẽ ủng hộ tiếp ạ",
    ),
    (
        "Won't buy again…",
        "<p>Broke after a week</p><p>Seller didn&amp;#39;t answer</p>",
        "Won't buy again… Broke after a week Seller didn't answer",
        "5496846c472b0ee69ad4f7c328d94969",
        "Won't buy again…\n\nBroke after a week\n\nSeller didn't answer\n",
    ),
    ("  5 stars  ", None, "5 stars", "090550a899b73d2c167472863bc79af6", "  5 stars  "),
    (
        "Très bien",
        "Cafe\u0301 parfait\xa0! \u200bLivraison rapide",
        "Très bien. Café parfait ! Livraison rapide",
        "b5f0a3bcd11a57299da3cbb68d88757b",
        "Tr\xe8s bien\nCaf\xe9 parfait\xa0! Livraison rapide",
    ),
    (
        "",
        "&lt;b&gt;Solid&lt;/b&gt; build, 5&quot; screen",
        'Solid build, 5" screen',
        "416f0a52c88fb7b3e82c4e82de84075a",
        'Solid build, 5" screen',
    ),
    (
        "很好。",
        "质量不错，物流很快！",
        "很好。 质量不错，物流很快！",
        "b16163656fc49d0a9f817c9390af3085",
        "很好。\n质量不错，物流很快！",
    ),
    (
        "Works",
        "\r\nYes.\r\n\r\nNo complaints :)  ",
        "Works. Yes. No complaints :)",
        "ddd1aa4e0241881400a71aa89b04dd17",
        "Works\n\r\nYes.\r\n\r\nNo complaints :)  ",
    ),
]


@pytest.mark.parametrize(("title", "text", "embedded", "digest", "lines"), REVIEWS)
def test_a_review_is_spelled_as_in_earlier_versions(
    title: str | None, text: str | None, embedded: str, digest: str, lines: str
) -> None:
    """Vectors are stored by the hash of the text: another spelling would have all reviews embedded again."""
    assert spell_review(title, text) == embedded
    assert spell_review(title, text, lines=True) == lines
    reviews = reviews_of([("a", title, text)])
    assert review_texts(reviews).rows() == [("r000", embedded, digest)]
    assert newest_reviews(reviews, pl.Series(["a"]), 1)["text"].to_list() == [lines]


def test_browsing_is_what_was_searched_and_read_in_order_of_time() -> None:
    rows = [
        ("u2", "search", 3, "red  shoes"),
        ("u1", "view", 2, "<p>Shoe page</p>"),
        ("u1", "search", 1, "shoes"),
        ("u1", "rating", 4, "liked them"),
        ("u1", "purchase", 5, None),
        ("u1", "view", 6, "<br>"),
    ]
    events = pl.DataFrame(rows, schema=["user_id", "event_type", "day", "text"], orient="row").select(
        "user_id", "event_type", "text", timestamp=DAY_0 + pl.duration(days="day")
    )
    expected = [("u1", "shoes"), ("u1", "Shoe page"), ("u2", "red shoes")]
    for frame in (events, events.lazy()):
        browsing = browsing_texts(frame)
        assert browsing.columns == ["user_id", "timestamp", "event_type", "text", "text_hash"]
        assert browsing.select("user_id", "text").rows() == expected
        assert browsing["event_type"].to_list() == ["search", "view", "search"]
    assert browsing_texts(events.filter(pl.col("event_type") == "search"), last=1).height == 2
