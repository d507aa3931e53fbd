"""A value means the same in a file and in a request to the service."""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime
from typing import Any, Final

import polars as pl
import pytest
from pydantic import ValidationError

from jobs.ingest.parsing import cast_rows
from serving.schemas.events import ShopEvent
from serving.schemas.items import ItemFields

TIMES: Final = (
    *("2026-11-30T10:00:00Z", "2026-11-30T10:00:00", "2026-11-30 10:00:00", "2026-11-30T10:00Z", "2026-11-30 10:00"),
    *("2026-11-30T10:00+02:00", "2026-11-30 10:00:00 UTC", "2026-11-30 10:00:00.5 UTC", "2026-11-30 10:00:00+00:00"),
    *("2026-11-30 10:00:00 +0000 UTC", "2026-11-30T10:00:00.123456789Z", "2026-11-30T10:00:00.123-0530", "2026-11-30"),
    *(
        "20261130",
        "20261130100000",
        "20261130T100000Z",
        "2026/11/30",
        "2026/11/30 10:00",
        "30.11.2026",
        "30.11.26 9:05",
    ),
    *("Mon, 30 Nov 2026 10:00:00 GMT", "30 Nov 2026", "Nov 30, 2026", "Nov 30, 2026, 4:05 PM", "30/11/2026 10:00"),
    *("11/30/2026", "3/4/2026", "1796032800", "1796032800000", "1796032800000000", "1796032800.5", 1796032800),
    *(1796032800000, 1796032800.25, "2026-13-01", "2026-02-30T10:00:00Z", "soon", "yesterday", "10:00", "-1"),
    *(" 2026-11-30T10:00:00Z ", "2026-11-30t10:00:00z", "2026-11-30T23:59:60Z", "1. 12. 2026", "Dec 1 2026 10:00:00"),
    *("Tuesday, December 1, 2026 10:00 AM", "1st December 2026", "2026-11-30T10:00:00 CET", "2026-335", "Q4 2026"),
)
IDS: Final = (
    *("i-1", " i-1 ", "0042", "42", "42 ", "a b", "a/b", "ä", "a\u0308", "Café", "Cafe\u0301", "'0042", "it's", "null"),
    *("NULL", "undefined", "NA", "n/a", "(not set)", "None", "nan", "[]", "{}", '{"id": 7}', '["a"]', "3.65E+11", "0"),
    *("{12345678-1234-1234-1234-123456789012}", "x" * 300, "100%", "a+b", "?", "#1", "..", "naan", "nullable", "1e5"),
    *(7, 7.0, 123456789012),
)
EVENT_TYPES: Final = (
    *(
        "view",
        "View",
        "VIEW",
        "page_view",
        "addToCart",
        "add_to_cart",
        "add-to-cart",
        "Add to Cart",
        "buy",
        "Purchased",
    ),
    *("transaction", "refund", "search", "rating", "impression", "click", "scroll", "login", "like", "ProductViewed"),
)
AVAILABLE: Final = (
    *("true", "false", "yes", "no", "1", "0", "5", "0.0", "-1", "in_stock", "In Stock", "instock", "out of stock"),
    *(
        "https://schema.org/InStock",
        "http://schema.org/OutOfStock",
        "preorder",
        "backorder",
        "sold out",
        "discontinued",
    ),
    *("active", "draft", "archived", "perhaps", "soon", "ja", "nein", 3, 0, 2.0),
)
PRICES: Final = (
    *("12.5", "12,5", "1299", "1,299.00", "1.299,00", "1.299 kr", "€ 89", "89 EUR", "$1,299.99", "CHF 1’299.–", ",89"),
    *("$.50", "from 12.00", "12.00 - 15.00", "1 299,00 zł", "free", "-3", "12.345", 12, 12.5, "1e3", "£5", "USD 7.25"),
)
TEXTS: Final = (
    *(
        "Mug",
        " Mug ",
        "Mug &amp; Bowl",
        "<b>Mug</b>",
        "Bo&#238;te &agrave; th&eacute;",
        "Cafe\u0301",
        "a  b",
        "&lt;b&gt;x",
    ),
    *("Nồi cơm", "蓝牙耳机", "5 < 6 & 7 > 2", "Fen &amp; Co", "Fen & Co", "<p> </p>", "AT&T", "tab\there"),
)
CATEGORIES: Final = (
    *(
        "Home > Kitchen",
        "Home/Kitchen/Mugs",
        "Men &gt; Shoes",
        "A > B, A > C",
        "Home\\, Garden",
        "Clothing > Tops|Sale",
    ),
    *('["Home", "Kitchen"]', "Shoes", " Shoes  >  Boots ", "Root Catalog/Default Category/Men", "Cafe\u0301 > Noir"),
)
VALUES: Final = [
    *(("events", "timestamp", value) for value in TIMES),
    *(("events", name, value) for name in ("user_id", "item_id") for value in IDS),
    *(("events", "event_type", value) for value in EVENT_TYPES),
    *(("catalog", "available", value) for value in AVAILABLE),
    *(("catalog", "price", value) for value in PRICES),
    *(("catalog", name, value) for name in ("title", "brand", "description") for value in TEXTS),
    *(("catalog", "category", value) for value in CATEGORIES),
]


def from_file(table: str, name: str, value: Any) -> Any:
    """What the lake holds; None where there is no value."""
    (parsed,) = cast_rows(table, pl.DataFrame({name: [value]}), {name: name}, {})[name]
    return parsed if not isinstance(parsed, datetime) else parsed.timestamp()


def from_request(table: str, name: str, value: Any) -> Any:
    """What the service stores; None where it refuses the value."""
    event = {"user_id": "ann", "item_id": "mug", "event_type": "view", "text": "mug"}
    model, fields = (ShopEvent, event | {name: value}) if table == "events" else (ItemFields, {name: value})
    try:
        parsed = getattr(model.model_validate(fields), name)
    except ValidationError:
        return None
    return parsed if not isinstance(parsed, datetime) else parsed.timestamp()


@pytest.mark.parametrize(("table", "name", "value"), VALUES)
def test_a_value_is_the_same_in_a_file_and_in_a_request(table: str, name: str, value: Any) -> None:
    parsed = from_file(table, name, value)
    if isinstance(parsed, float) and parsed < 0:  # the lake's rules refuse it, too: a price below zero, a time of 1969
        parsed = None
    assert from_request(table, name, value) == parsed


def test_attributes_are_the_same_in_a_file_and_in_a_request() -> None:
    tree = {"b": "Cafe\u0301", "a": [1, "x"], "blank": "", "none": None}
    assert json.loads(from_file("catalog", "attributes", json.dumps(tree))) == from_request(
        "catalog", "attributes", tree
    )


def test_letters_are_composed_at_both_doors() -> None:
    assert from_request("catalog", "title", "Cafe\u0301") == unicodedata.normalize("NFC", "Cafe\u0301")
    assert len(VALUES) >= 200
