from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from features.text.item_values import attributes_of_text
from jobs.ingest.parsing import cast_rows


def cast(table: str, column: str, values: list[Any], dtype: Any = None) -> tuple[list[Any], list[str]]:
    """The cast values of one column and what could not be read."""
    raw = pl.DataFrame({column: pl.Series(values, dtype=dtype)})
    rows = cast_rows(table, raw, {column: column}, {})
    return rows[column].to_list(), rows["unreadable"].to_list()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([17, 18], ["17", "18"]),
        ([17.0, None], ["17", None]),
        ([float("nan"), 1e16], [None, "10000000000000000"]),
        (["  a ", ""], ["a", None]),
        (["17.0", "1.5"], ["17", "1.5"]),
    ],
)
def test_ids_become_text_without_spaces_and_without_a_decimal_part(values: list[Any], expected: list[Any]) -> None:
    assert cast("events", "item_id", values)[0] == expected


MOMENT = datetime(2014, 2, 28, 12, 30, 15, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        float(SECONDS),
        SECONDS * 10**3,
        SECONDS * 10**6,
        SECONDS * 10**9,
        str(SECONDS),
        f"{SECONDS}.0",
        str(SECONDS * 1000),
        MOMENT,
        MOMENT.replace(tzinfo=None),
        MOMENT.astimezone(timezone(timedelta(hours=7))),
        "2014-02-28T12:30:15Z",
        "2014-02-28T12:30:15.000",
        "2014-02-28 12:30:15",
        "2014-02-28 12:30:15+00:00",
        "2014-02-28T19:30:15+07:00",
        "2014-02-28T19:30:15 +0700",
    ],
)
def test_every_way_to_write_a_time_is_read_as_utc(value: Any) -> None:
    assert cast("events", "timestamp", [value]) == ([MOMENT], [""])


@pytest.mark.parametrize("value", [date(2014, 2, 28), "2014-02-28", "20140228"])
def test_a_date_is_its_midnight_in_utc(value: Any) -> None:
    assert cast("events", "timestamp", [value])[0] == [datetime(2014, 2, 28, tzinfo=UTC)]


def test_formats_of_time_may_differ_from_row_to_row() -> None:
    values, unreadable = cast("events", "timestamp", [str(SECONDS), "2014-02-28T12:30:15Z", "28 Feb", "", None])
    assert values == [MOMENT, MOMENT, None, None, None]
    assert unreadable == ["", "", "timestamp|dtype", "", ""]


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("12.99", 12.99),
        ("$12.99", 12.99),
        ("$1,299.00", 1299.0),
        ("1.299,00 €", 1299.0),
        ("12,99", 12.99),
        ("209.000.000 ₫", 209000000.0),
        ("1 299", 1299.0),
        ("USD 5", 5.0),
        ("-3", -3.0),
    ],
)
def test_prices_are_read_whatever_the_currency_and_the_separators(text: str, price: float) -> None:
    assert cast("catalog", "price", [text]) == ([price], [""])


@pytest.mark.parametrize("text", ["call us", "1.2.3", "inf"])
def test_a_price_that_is_no_number_breaks_the_rule_of_its_type(text: str) -> None:
    assert cast("catalog", "price", [text]) == ([None], ["price|dtype"])


@pytest.mark.parametrize("empty", ["", " ", "NaN", "null", "N/A"])
def test_words_for_nothing_are_null_in_a_column_of_numbers(empty: str) -> None:
    assert cast("catalog", "price", [empty]) == ([None], [""])


def test_availability_is_read_from_words_and_null_where_unknown() -> None:
    values, unreadable = cast("catalog", "available", ["yes", "Out of stock", "0", "", "perhaps"])
    assert (values, unreadable[-1]) == ([True, False, False, None, None], "available|dtype")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (["Home > Lamps"], "Home > Lamps"),
        (["Home", "Lamps"], "Home > Lamps"),
        ([["Sale"], ["Home", "Lamps"], ["Art", "Light"]], "Home > Lamps"),
        ([], None),
    ],
)
def test_a_list_of_categories_becomes_one_path(value: list[Any], path: str | None) -> None:
    dtype = pl.List(pl.List(pl.String)) if value and isinstance(value[0], list) else pl.List(pl.String)
    assert cast("catalog", "category", [value], dtype)[0] == [path]


def test_attributes_are_a_json_object_without_nulls_and_with_sorted_keys() -> None:
    rows = [{"size": "L", "colour": None, "b": 1}, {"size": None, "colour": None, "b": None}]
    assert cast("catalog", "attributes", rows)[0] == ['{"b": 1, "size": "L"}', None]
    assert attributes_of_text('{"b": 1, "a": "ü"}', "x") == '{"a": "ü", "b": 1}'
    assert attributes_of_text("2x180ml", "variants") == '{"variants": "2x180ml"}'


def test_a_list_of_sentences_becomes_one_text() -> None:
    assert cast("catalog", "description", [["One. ", "Two."], []], pl.List(pl.String))[0] == ["One. Two.", None]


def test_an_event_type_is_read_in_any_case_and_an_unknown_one_is_unreadable() -> None:
    assert cast("events", "event_type", ["View", "addToCart", "scroll"]) == (
        ["view", "cart", None],
        ["", "", "event_type|dtype"],
    )


def test_a_position_with_a_fraction_is_unreadable() -> None:
    assert cast("events", "position", [3.0, 2.5]) == ([3, None], ["", "position|dtype"])


def test_ids_are_derived_from_what_the_row_says_only_where_none_is_given() -> None:
    raw = pl.DataFrame(
        {"event_id": ["own", None, None, None], "user_id": list("uuuu"), "item_id": ["i", "i", "i", "j"]}
    )
    ids = cast_rows("events", raw, {name: name for name in raw.columns}, {})["event_id"].to_list()
    assert ids[0] == "own"
    assert ids[1] == ids[2] != ids[3]
    assert len(ids[1]) == 32


def test_constants_fill_a_column() -> None:
    rows = cast_rows("events", pl.DataFrame({"user_id": ["u", "v"]}), {"user_id": "user_id"}, {"event_type": "cart"})
    assert rows["event_type"].to_list() == ["cart", "cart"]


@pytest.mark.parametrize("word", ["[]", '[{"item_id": "a"}]', "(not set)", "NA", "undefined", "NULL"])
@pytest.mark.parametrize(("table", "column"), [("events", "item_id"), ("reviews", "item_id"), ("events", "user_id")])
def test_what_is_no_id_makes_the_row_bad(table: str, column: str, word: str) -> None:
    assert cast(table, column, [word, "a"]) == ([None, "a"], [f"{column}|not_an_id", ""])


def test_an_id_that_a_spreadsheet_has_rounded_makes_the_row_bad() -> None:
    assert cast("catalog", "item_id", ["3.65275E+11"]) == ([None], ["item_id|excel_number"])


@pytest.mark.parametrize("column", ["session_id", "recommendation_id"])
def test_an_optional_id_that_is_none_is_null(column: str) -> None:
    assert cast("events", column, ["(not set)", "s"]) == ([None, "s"], ["", ""])


def test_an_event_id_that_is_none_is_derived() -> None:
    values, unreadable = cast("events", "event_id", ["NA", None])
    assert values[0] == values[1]
    assert len(values[0]) == 32
    assert unreadable == ["", ""]


def test_a_search_needs_no_item() -> None:
    raw = pl.DataFrame({"item_id": ["NA", "NA"], "event_type": ["search", "view"]})
    rows = cast_rows("events", raw, {name: name for name in raw.columns}, {})
    assert rows["unreadable"].to_list() == ["", "item_id|not_an_id"]


def test_dates_are_read_in_the_order_that_is_given() -> None:
    raw = pl.DataFrame({"timestamp": ["3/4/2024", "13/4/2024"]})
    rows = cast_rows("events", raw, {"timestamp": "timestamp"}, {}, "dmy")
    assert rows["timestamp"].to_list() == [datetime(2024, 4, 3, tzinfo=UTC), datetime(2024, 4, 13, tzinfo=UTC)]
    undecided = cast_rows("events", raw, {"timestamp": "timestamp"}, {})
    assert undecided["unreadable"].to_list() == ["timestamp|dtype", ""]


def test_the_year_1_is_no_time_and_not_unreadable() -> None:
    assert cast("events", "timestamp", ["0001-01-01 00:00:00 +0000 UTC"]) == ([None], [""])


def test_a_flag_of_a_column_that_tells_the_opposite_is_turned() -> None:
    raw = pl.DataFrame({"IsHidden": ["true", "false", None]})
    assert cast_rows("catalog", raw, {"available": "IsHidden"}, {})["available"].to_list() == [False, True, None]


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ("<b>Bold</b> hat", "Bold hat"),
        ("Cloud Mug &amp; Lid", "Cloud Mug & Lid"),
        ("Tea &ndash; green", "Tea – green"),
        ("I <3 cats", "I <3 cats"),
        ("A < B", "A < B"),
        ("R&D", "R&D"),
        ("<p></p>", None),
    ],
)
def test_html_in_a_title_becomes_text(given: str, title: str | None) -> None:
    for table, column in (("catalog", "title"), ("catalog", "brand"), ("reviews", "title")):
        assert cast(table, column, [given])[0] == [title]


def test_html_in_a_description_becomes_lines() -> None:
    given = "<p>Soft  &amp; warm.</p><ul><li>Wool</li></ul>"
    assert cast("catalog", "description", [given, "two\nlines"])[0] == ["Soft & warm.\nWool", "two\nlines"]


def test_html_in_a_category_becomes_text_step_by_step() -> None:
    values = ["Home &gt; <b>Mugs</b> &amp; cups", '["Home", "Mugs &amp; cups"]', "Default Category/Men/Tops"]
    assert cast("catalog", "category", values)[0] == ["Home > Mugs & cups", "Home > Mugs & cups", "Men > Tops"]


def test_an_id_is_derived_from_a_review_before_its_html_becomes_text() -> None:
    raw = pl.DataFrame({"user_id": ["u", "u"], "text": ["a &amp; b", "a & b"]})
    rows = cast_rows("reviews", raw, {"user_id": "user_id", "text": "text"}, {})
    assert rows["text"].n_unique() == 1
    assert rows["review_id"].n_unique() == 2


def test_a_rating_is_no_price() -> None:
    assert cast("reviews", "rating", ["4.5", "4,5", "4-5", "$4"]) == (
        [4.5, 4.5, None, None],
        ["", "", "rating|dtype", "rating|dtype"],
    )
