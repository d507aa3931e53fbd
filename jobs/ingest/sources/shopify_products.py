"""Shopify's product export, in its three generations of headers (to 2023, 2024 with linked options, 2025).

One item a handle. Only the first row of a handle has the texts; later rows are variants (options, SKU, price) or
pictures. With `--items variant` each variant is an item with the texts of its product. Each SKU is an alias
of its item, by which orders and pixels name it.

Source: https://help.shopify.com/en/manual/products/import-export/using-csv
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobs.ingest.column_aliases import plain_name
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.aliases import Aliases, is_rounded
from jobs.ingest.sources.connector import ByName, Connector, has_columns, one_by_one
from jobs.ingest.sources.records import Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount, flag
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "Shopify products (CSV)"

HANDLE: Final = ("Handle", "URL handle")
_SKU: Final = ("Variant SKU", "SKU")
_PRICE: Final = ("Variant Price", "Price")
_LIST_PRICE: Final = ("Variant Compare At Price", "Compare-at price")
_QUANTITY: Final = ("Variant Inventory Qty", "Inventory quantity")
_TRACKER: Final = ("Variant Inventory Tracker", "Inventory tracker")
_POLICY: Final = ("Variant Inventory Policy", "Continue selling when out of stock")
_PUBLISHED: Final = ("Published", "Published on online store")
_METAFIELD: Final = re.compile(r"\(product\.metafields\.(?!shopify--discovery)[^()]*\.([^().]+)\)$")
_GOOGLE: Final = {"Google Shopping / Gender": "gender", "Google Shopping / Age Group": "age_group"}


_NumberedRow = tuple[int, Mapping[str, Any]]


def recognises(head: FileHead) -> bool:
    has_handle = has_columns(head, "Handle") or has_columns(head, "URL handle")
    texts_or_price = ("Body (HTML)", "Variant Price", "Compare-at price")
    return has_handle and has_columns(head, "Title") and any(has_columns(head, name) for name in texts_or_price)


def open_products(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "catalog", LABEL, lambda notes: _records(file, spec, notes))


CONNECTOR: Final = Connector("shopify", LABEL, recognises, one_by_one(open_products))


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    aliases = Aliases()
    rows: list[_NumberedRow] = []
    number, handle = 0, ""
    value = ByName()
    for record in dict_rows(file, spec, "catalog"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        if rows and value.at(row)(*HANDLE) != handle:
            yield from _product(rows, value, spec, aliases, notes)
            rows = []
        handle = value.at(row)(*HANDLE)
        rows.append((number, row))
    if rows:
        yield from _product(rows, value, spec, aliases, notes)
    yield from aliases.rows(notes, number)


def _product(
    rows: list[_NumberedRow], value: ByName, spec: SourceSpec, aliases: Aliases, notes: Notes
) -> Iterator[Record]:
    """The item of one handle's rows, or with `--items variant` one item a variant."""
    number, first = rows[0]
    variants = [row for _, row in rows if _is_variant(value.at(row))]
    notes["variants"] += len(variants)
    notes["picture rows"] += len(rows) - len(variants)
    texts = _texts(value.at(first))
    option_names = [value.at(first)(f"Option{n} Name") for n in (1, 2, 3)]
    if spec.options.items == "variant":
        items = [_variant_item(value.at(row), option_names, texts) for row in variants]
    else:
        items = [_product_item(variants or [first], value, option_names, texts, aliases)]
    for item in items:
        notes["items"] += 1
        notes["items without price"] += item["price"] is None
        notes["items without title"] += not item["title"]
        yield Row("catalog", number, item)


def by_title(line: str) -> str:
    """The alias by which an order's line names a variant that has no SKU."""
    return f"title:{line}"


def _is_variant(value: ByName) -> bool:
    return bool(value(*_PRICE) or value(*_SKU) or value("Option1 Value"))


def _texts(value: ByName) -> dict[str, Any]:
    """What the first row of a product says of all its variants."""
    attributes: dict[str, Any] = {"tags": [tag for part in value("Tags").split(",") if (tag := part.strip())]}
    for column, name in _GOOGLE.items():
        attributes[name] = value(column)
    for column in value.columns():
        if metafield := _METAFIELD.search(column):
            parts = [part.strip() for part in value(column).split(";")]
            attributes[metafield[1].casefold()] = parts if len(parts) > 1 else parts[0]
    return {
        "item_id": value(*HANDLE),
        "title": value("Title"),
        "description": value("Body (HTML)", "Description"),
        "brand": value("Vendor"),
        "category": value("Product Category", "Type"),
        "available": value("Status").casefold() in ("", "active") and flag(value(*_PUBLISHED)) is not False,
        "attributes": attributes,
    }


def _product_item(
    variants: list[Mapping[str, Any]], value: ByName, option_names: list[str], texts: dict[str, Any], aliases: Aliases
) -> dict[str, Any]:
    handle = texts["item_id"]
    options: dict[str, list[str]] = {}
    skus = []
    prices, list_prices = [], []
    for row in variants:
        value.at(row)
        prices.append(amount(value(*_PRICE)))
        list_prices.append(amount(value(*_LIST_PRICE)))
        skus.append(value(*_SKU).lstrip("'"))
        aliases.add(skus[-1], handle)
        named = [texts["title"], " / ".join(_options(value, option_names).values())]
        aliases.add_title(by_title(" - ".join(part for part in named if part)), handle)
        for name, option in _options(value, option_names).items():
            options[name] = list(dict.fromkeys([*options.get(name, []), option]))
    in_stock = any(_in_stock(value.at(row)) for row in variants)
    attributes = texts["attributes"] | options | {"skus": [sku for sku in skus if sku]}
    price = min((price for price in prices if price is not None), default=None)
    list_price = max((price for price in list_prices if price is not None), default=None)
    return texts | {
        "price": price,
        "available": texts["available"] and in_stock,
        "attributes": attributes | _reduced(price, list_price),
    }


def _variant_item(value: ByName, option_names: list[str], texts: dict[str, Any]) -> dict[str, Any]:
    handle, sku = texts["item_id"], value(*_SKU).lstrip("'")
    options = _options(value, option_names)
    item_id = (
        sku if sku and not is_rounded(sku) else "/".join([handle, *(plain_name(option) for option in options.values())])
    )
    price = amount(value(*_PRICE))
    attributes = texts["attributes"] | options | {"group": handle} | _reduced(price, amount(value(*_LIST_PRICE)))
    return texts | {
        "item_id": item_id,
        "title": " - ".join([texts["title"], *options.values()]),
        "price": price,
        "available": texts["available"] and _in_stock(value),
        "attributes": attributes,
    }


def _options(value: ByName, names: list[str]) -> dict[str, str]:
    """Option name, lower case -> this variant's value; nothing for the `Default Title` of a product without options."""
    given = {name.casefold(): value(f"Option{n} Value") for n, name in enumerate(names, start=1) if name}
    return {name: option for name, option in given.items() if option and option != "Default Title"}


def _reduced(price: float | None, list_price: float | None) -> dict[str, float]:
    """The price before a reduction, where there is one."""
    return {"list_price": list_price} if price is not None and list_price is not None and list_price > price else {}


def _in_stock(value: ByName) -> bool:
    """No tracker, no quantity in the file, some left, or sold although none is left."""
    quantity = amount(value(*_QUANTITY))
    sells_anyway = value(*_POLICY).casefold() in ("continue", "true", "yes")
    return not value(*_TRACKER) or quantity is None or quantity > 0 or sells_anyway
