from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from jobs.ingest.parsing import attributes, cast_rows, category_path


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


@pytest.mark.parametrize("text", ["call us", "1 - 2", "inf"])
def test_a_price_that_is_no_number_breaks_the_rule_of_its_type(text: str) -> None:
    assert cast("catalog", "price", [text]) == ([None], ["price|dtype"])


@pytest.mark.parametrize("empty", ["", " ", "NaN", "null", "N/A"])
def test_words_for_nothing_are_null_in_a_column_of_numbers(empty: str) -> None:
    assert cast("catalog", "price", [empty]) == ([None], [""])


def test_availability_is_read_from_words_and_true_where_unknown() -> None:
    values, unreadable = cast("catalog", "available", ["yes", "Out of stock", "0", "", "perhaps"])
    assert (values, unreadable[-1]) == ([True, False, False, True, True], "available|dtype")


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


@pytest.mark.parametrize(
    ("text", "path"),
    [("['Home', 'Lamps']", "Home > Lamps"), ("Home>Lamps", "Home > Lamps"), ("[sic", "[sic"), ("", None)],
)
def test_a_category_in_text_is_a_path_or_a_written_list(text: str, path: str | None) -> None:
    assert category_path(text) == path


def test_attributes_are_a_json_object_without_nulls_and_with_sorted_keys() -> None:
    rows = [{"size": "L", "colour": None, "b": 1}, {"size": None, "colour": None, "b": None}]
    assert cast("catalog", "attributes", rows)[0] == ['{"b": 1, "size": "L"}', None]
    assert attributes('{"b": 1, "a": "ü"}', "x") == '{"a": "ü", "b": 1}'
    assert attributes("2x180ml", "variants") == '{"variants": "2x180ml"}'


def test_a_list_of_sentences_becomes_one_text() -> None:
    assert cast("catalog", "description", [["One. ", "Two."], []], pl.List(pl.String))[0] == ["One. Two.", None]


def test_an_event_type_is_read_in_any_case_and_an_unknown_one_is_unreadable() -> None:
    assert cast("events", "event_type", ["View", "wishlist"]) == (["view", None], ["", "event_type|dtype"])


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
