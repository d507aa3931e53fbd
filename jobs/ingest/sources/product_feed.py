"""Product feeds for Google Merchant Center and Meta's catalogue: RSS, Atom, tab or comma separated, file or URL.

One item an id. The price is the sale price while it is in force. Items of one `item_group_id` are variants of one
product and are stated as such. Names are read with and without `g:`, in any case, with spaces or underscores. A feed
has one currency. With `--full`, products that are no longer in the feed become unavailable.

Source: https://support.google.com/merchants/answer/7052112 (Google),
https://www.facebook.com/business/help/120325381656392 (Meta).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobs.ingest.column_aliases import plain_name
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.readers.xml_documents import local_name, read_elements
from jobs.ingest.sources.connector import Connector, has_columns, one_by_one
from jobs.ingest.sources.records import Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount, currency, in_force
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError
from recsys.values.categories import category_path

GOOGLE: Final = "Google Merchant feed"
META: Final = "Meta catalogue (CSV)"

_ELEMENTS: Final = ("item", "entry")
_META_COLUMN: Final = re.compile(
    r"fb_product_category|quantity_to_sell_on_facebook|(product_tags|video|style)\[\d+\].*"
)
_ATTRIBUTES: Final = (
    *("color", "size", "gender", "age_group", "material", "pattern", "condition", "gtin", "mpn", "link", "image_link"),
)
_HIDDEN: Final = ("archived", "staging", "hidden", "draft")
"""Meta's `status` or `visibility` of a product that is not shown."""

_Values = Mapping[str, list[str]]
"""Plain name -> the values of a product that are not blank."""


def recognises_feed(head: FileHead) -> bool:
    if head.kind == "xml":
        return head.root in ("rss", "feed") and _is_feed(head.file)
    has_price = has_columns(head, "price") and has_columns(head, "availability")
    return has_price and has_columns(head, "id", "title") and bool(_link_columns(head))


def recognises_meta(head: FileHead) -> bool:
    return recognises_feed(head) and any(_META_COLUMN.fullmatch(column.strip()) for column in head.columns)


def open_feed(file: DataFile, spec: SourceSpec, label: str = GOOGLE) -> RawFile:
    """One feed. Raises DataError, while it is read, where two currencies are in it."""
    return record_file(file, "catalog", label, lambda notes: _records(file, spec, notes))


def open_meta(file: DataFile, spec: SourceSpec) -> RawFile:
    return open_feed(file, spec, META)


META_CONNECTOR: Final = Connector("meta-catalog", META, recognises_meta, one_by_one(open_meta))
GOOGLE_CONNECTOR: Final = Connector("google-feed", GOOGLE, recognises_feed, one_by_one(open_feed))


def _link_columns(head: FileHead) -> list[str]:
    return [name for name in ("link", "image_link", "description") if has_columns(head, name)]


def _is_feed(file: DataFile) -> bool:
    """Whether the first element is a product: it has an id and a price."""
    for _, element in read_elements(file, _ELEMENTS):
        return {"id", "price"} <= {local_name(child) for child in element}
    return False


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    currencies: dict[str, int] = {}
    for record in _products(file, spec, notes):
        if not isinstance(record, tuple):
            yield record
            continue
        number, values = record
        row = _catalog_row(values, notes)
        if code := row["attributes"].get("currency"):
            currencies.setdefault(code, number)
            if len(currencies) > 1:
                shown = " and ".join(f"{code} (product {first:,})" for code, first in currencies.items())
                raise DataError(f"{file}: prices in {shown}; a catalogue has one currency: give one feed per currency")
        notes["items"] += 1
        yield Row("catalog", number, row)


def _products(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[tuple[int, _Values] | Record]:
    if _is_xml(file):
        reader = read_elements(file, _ELEMENTS)
        for number, element in reader:
            values: dict[str, list[str]] = {}
            for child in element:
                text = (child.text or child.get("href") or "").strip()
                if text:
                    values.setdefault(plain_name(local_name(child)), []).append(text)
            yield number, values
        notes["bare & repaired"] += reader.n_repaired
        return
    for record in dict_rows(file, spec, "catalog"):
        if isinstance(record, tuple):
            number, row = record
            texts = {plain_name(column): str(value).strip() for column, value in row.items() if value is not None}
            yield number, {name: [text] for name, text in texts.items() if text}
        else:
            yield record


def _is_xml(file: DataFile) -> bool:
    with file.open() as content:
        return content.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith((b"<", b"<\x00"))


def _catalog_row(values: _Values, notes: Notes) -> dict[str, Any]:
    def first(name: str) -> str:
        return values.get(plain_name(name), [""])[0]

    price_text = first("price")
    price, list_price = amount(price_text), None
    sale_price = amount(first("sale_price")) if _is_in_force(first("sale_price_effective_date")) else None
    if sale_price is not None and price is not None and sale_price < price:
        notes["sale prices"] += 1
        price, list_price = sale_price, price
    attributes: dict[str, Any] = {name: first(name) for name in _ATTRIBUTES}
    attributes |= {"group": first("item_group_id"), "list_price": list_price, "currency": currency(price_text)}
    tags = [text for name, texts in values.items() if re.fullmatch(r"producttags\d*", name) for text in texts]
    attributes["tags"] = tags
    is_hidden = (first("status") or first("visibility")).casefold() in _HIDDEN
    return {
        "item_id": first("id"),
        "title": first("title"),
        "description": first("description"),
        "brand": first("brand"),
        "category": _category(values),
        "price": price_text if price is None else price,
        "available": False if is_hidden else first("availability"),
        "attributes": {name: value for name, value in attributes.items() if value},
    }


def _category(values: _Values) -> str | None:
    """The longest path of the shop's own categories, else Google's, unless that is a number."""
    for name in ("product_type", "category", "google_product_category", "fb_product_category"):
        paths = [path for text in values.get(plain_name(name), []) if (path := category_path(text))]
        paths = [path for path in paths if not path.isdigit()]
        if paths:
            return max(paths, key=lambda path: path.count(" > "))
    return None


def _is_in_force(period: str) -> bool:
    """Whether `BEGIN/END` holds now; a sale price without a period always does."""
    begin, _, end = period.partition("/")
    return in_force(begin.strip(), end.strip())
