from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from storefronts import ITEM_IDS, NOON, catalogue

from recsys.properties import NEVER_US, UNKNOWN, Properties, category_path, comparable


def properties(**columns: list[object]) -> Properties:
    n_items = len(next(iter(columns.values())))
    usual = {"title": [f"t{row}" for row in range(n_items)], "available": [True] * n_items}
    return Properties.of_table(pl.DataFrame(usual | columns))


def test_columns_become_codes_and_arrays_in_the_order_of_the_items() -> None:
    items = Properties.of_table(catalogue())
    assert [items.category.name(row) for row in range(5)] == catalogue()["category"].to_list()
    assert items.brand.codes[ITEM_IDS.index("lamp")] == UNKNOWN
    assert items.brand.name(ITEM_IDS.index("lamp")) is None
    np.testing.assert_array_equal(items.price, [30.0, 80.0, np.nan, 25.0, 20.0])
    assert items.updated_us[2] == NEVER_US
    assert items.updated_us[0] == int(NOON.timestamp() * 1_000_000)


def test_an_item_tells_what_the_catalogue_says_and_null_where_it_says_nothing() -> None:
    items = Properties.of_table(catalogue())
    assert items.of_row(0) == {
        "title": "Kettle",
        "category": "Home > Kitchen",
        "brand": "Brew",
        "price": 30.0,
        "available": True,
        "updated_at": NOON,
        "attributes": {"colour": "red"},
        "rating": None,
        "n_reviews": 0,
    }
    lamp = items.of_row(2)
    assert {name for name, value in lamp.items() if value is None} == {
        *("brand", "price", "updated_at", "attributes", "rating"),
    }


def test_a_catalogue_of_titles_alone_is_read() -> None:
    items = properties(title=["a", None])
    silent = ("title", "category", "brand", "price", "updated_at", "attributes", "rating")
    assert items.of_row(1) == dict.fromkeys(silent) | {"available": True, "n_reviews": 0}


def test_an_item_tells_its_stars_and_how_many_have_said_so() -> None:
    items = properties(title=["a", "b"], rating=[4.256, None], n_reviews=[9, None])
    stars = [(items.of_row(row)["rating"], items.of_row(row)["n_reviews"]) for row in range(2)]
    assert stars == [(4.26, 9), (None, 0)]


def test_each_value_of_an_attribute_leads_to_its_items() -> None:
    items = Properties.of_table(catalogue())
    assert {pair: rows.tolist() for pair, rows in items.attribute_rows.items()} == {
        ("colour", "red"): [0, 4],
        ("colour", "blue"): [4],
        ("buttons", "3"): [3],
    }


@pytest.mark.parametrize("text", ["no JSON", "[1, 2]", "null", "", '{"a": null}', '{"a": []}'])
def test_attributes_that_say_nothing_lead_nowhere(text: str) -> None:
    assert properties(attributes=[text]).attribute_rows == {}


def test_a_value_twice_in_one_item_and_objects_inside_are_read_once() -> None:
    items = properties(attributes=['{"a": ["x", "X "], "b": {"c": 1}}'])
    assert {pair: rows.tolist() for pair, rows in items.attribute_rows.items()} == {
        ("a", "x"): [0],
        ("b", '{"c": 1}'): [0],
    }


@pytest.mark.parametrize(
    ("value", "spelled"), [(True, "true"), (3, "3"), (3.0, "3"), (2.5, "2.5"), (" Red ", "red"), ("STRASSE", "strasse")]
)
def test_values_are_compared_as_json_spells_them_without_case(value: str | float, spelled: str) -> None:
    assert comparable(value) == spelled


def test_a_category_is_a_path() -> None:
    assert category_path("Home > Lamps>Desk ") == ("home", "lamps", "desk")


def test_times_come_back_in_utc() -> None:
    moment = datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)
    assert properties(updated_at=[moment]).of_row(0)["updated_at"] == moment


def test_an_empty_catalogue_is_read() -> None:
    items = Properties.of_table(catalogue().clear())
    items.prepare()
    assert (items.n_items, items.attribute_rows, len(items.variants)) == (0, {}, 0)
