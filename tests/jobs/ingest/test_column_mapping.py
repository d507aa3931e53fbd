from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.ingest.column_mapping import Naming, Values, fitting_table, name_columns
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Header:
    table: str
    path: Path
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Head:
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]


def naming(table: str, columns: Columns, maps: dict[str, str] | None = None, values: Values | None = None) -> Naming:
    raw = Header(table, Path("shop.csv"), tuple(columns))
    return name_columns(raw, SourceSpec("table", {}, maps or {}), pl.DataFrame(columns), values)


def table_of(columns: Columns) -> str | None:
    rows = zip(*columns.values(), strict=True)
    return fitting_table(Head(tuple(columns), tuple(dict(zip(columns, row, strict=True)) for row in rows)))


SHOP: Columns = {
    "Handle": ["red-mug", "blue-mug"],
    "Title": ["Red mug", "Blue mug"],
    "Body (HTML)": ["<p>Holds tea</p>", ""],
    "Vendor": ["Potters", "Potters"],
    "Type": ["Mugs", "Mugs"],
    "Variant Price": ["12.00", "13.00"],
    "Status": ["active", "draft"],
}

EVENTS: Columns = {
    "user_id": ["u", "v"],
    "item_id": ["i", "j"],
    "event_type": ["view", "cart"],
    "timestamp": ["2024-01-02", "2024-01-03"],
}

REVIEWS: Columns = {
    "product_handle": ["red-mug", "red-mug"],
    "rating": ["5", "4"],
    "reviewer_name": ["Ada Example", "Bo Example"],
    "reviewer_email": ["ada@example.com", "bo@example.com"],
    "body": ["Lovely", "Good, but small"],
    "review_date": ["2024-01-02 10:00:00 UTC", "2024-01-03 10:00:00 UTC"],
}


def test_columns_are_taken_by_their_meaning_and_reported() -> None:
    assert naming("catalog", SHOP).guessed == {
        "item_id": "Handle",
        "title": "Title",
        "description": "Body (HTML)",
        "category": "Type",
        "brand": "Vendor",
        "price": "Variant Price",
        "available": "Status",
    }
    assert naming("reviews", REVIEWS).guessed == {
        "user_id": "reviewer_email",
        "item_id": "product_handle",
        "text": "body",
        "timestamp": "review_date",
    }


def test_our_own_names_are_taken_whatever_their_values_and_not_reported() -> None:
    given = naming("events", EVENTS | {"value": ["much", "little"]})
    assert given.columns == {name: name for name in (*EVENTS, "value")}
    assert given.guessed == {}


@pytest.mark.parametrize("name", ["ITEM_ID", "Item ID", "item-id", "itemId", "g:item_id"])
def test_names_are_compared_without_case_spaces_and_punctuation(name: str) -> None:
    assert naming("catalog", {name: ["a"]}).columns["item_id"] == name


def test_our_name_goes_before_an_alias_and_a_map_before_both() -> None:
    columns: Columns = {"id": ["1"], "item_id": ["a"], "sku": ["s"]}
    assert naming("catalog", columns).columns["item_id"] == "item_id"
    assert naming("catalog", columns, {"catalog.item_id": "sku"}).columns["item_id"] == "sku"


def test_a_column_is_not_taken_twice() -> None:
    given = naming("catalog", {"id": ["1"], "name": ["Mug"]}, {"catalog.description": "name"})
    assert given.columns == {"item_id": "id", "description": "name"}


def test_an_alias_is_taken_only_where_its_values_fit() -> None:
    woo: Columns = {"id": ["1", "2"], "type": ["simple", "variable"], "status": ["new", "old"], "brand": ["A", "B"]}
    assert naming("catalog", woo).guessed == {"item_id": "id"}
    times: Columns = {"user": ["u"], "item": ["i"], "type": ["view"], "time": ["12"], "created_at": ["2024-01-02"]}
    assert naming("events", times).columns["timestamp"] == "created_at"


def test_a_person_s_name_is_no_user_id() -> None:
    columns = {name: values for name, values in EVENTS.items() if name != "user_id"}
    with pytest.raises(DataError, match=r"--map events.user_id=COLUMN"):
        naming("events", columns | {"customer": ["Ada Example", "Bo Example"]})


def test_without_first_rows_no_alias_is_taken_but_a_hint_names_it() -> None:
    raw = Header("catalog", Path("shop.csv"), ("Handle", "Title"))
    with pytest.raises(
        DataError, match=r"no column 'item_id' .* the file has Handle, Title; .*--map catalog.item_id=Handle"
    ):
        name_columns(raw, SourceSpec("table", {}))


def test_a_hint_never_names_a_column_whose_values_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"--map catalog.item_id=COLUMN"):
        naming("catalog", {"title": ["Red mug", "Blue mug"], "item_idx": ["a red mug", "a blue mug"]})
    with pytest.raises(DataError, match=r"--map catalog.item_id=itm_id"):
        naming("catalog", {"title": ["Red mug", "Blue mug"], "itm_id": ["1", "2"]})


def test_a_hint_names_the_e_mail_where_few_shoppers_have_it() -> None:
    columns = {name: values * 2 for name, values in EVENTS.items() if name != "user_id"}
    with pytest.raises(DataError, match=r"--map events.user_id=Email"):
        naming("events", columns | {"Email": ["ada@example.com", None, None, None]})


def test_event_types_are_taken_where_all_their_words_are_known() -> None:
    columns: Columns = {"visitorid": ["1", "2"], "itemid": ["7", "8"], "event": ["view", "addtocart"]}
    columns["timestamp"] = [1_433_221_332_117, 1_433_221_332_999]
    with pytest.raises(DataError, match=r"--map events.event_type=event and map addtocart as in --value"):
        naming("events", columns)
    given = naming("events", columns, values={"events.event_type": {"addtocart": "cart"}})
    assert given.guessed == {"user_id": "visitorid", "item_id": "itemid", "event_type": "event"}


def test_a_mapped_column_that_is_missing_gets_a_hint() -> None:
    with pytest.raises(DataError, match=r"no column 'Titel' .*--map catalog.title=Title"):
        naming("catalog", SHOP, {"catalog.title": "Titel"})


@pytest.mark.parametrize(
    ("columns", "table"),
    [
        (SHOP, "catalog"),
        (EVENTS, "events"),
        (REVIEWS, "reviews"),
        ({"customer_id": ["1"], "article_id": ["2"], "price": ["3"]}, None),
        ({"sku": ["a"], "title": ["Fine"], "review": ["Nice"], "reviewer": ["Ada"]}, None),
        ({"a": ["1"], "b": ["2"]}, None),
        (EVENTS | REVIEWS, None),
    ],
)
def test_a_file_fits_the_table_that_its_columns_and_values_tell(columns: Columns, table: str | None) -> None:
    assert table_of(columns) == table


def test_the_first_rows_may_hold_lists() -> None:
    assert table_of({"item_id": [1], "title": ["Mug"], "categories": [["Home", "Mugs"]]}) == "catalog"
    assert table_of({"product": [["a", "b"]], "title": ["Mug"]}) is None
