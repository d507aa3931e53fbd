"""BigCommerce's product export, in the layouts of the older and the newer editor.

Rows of SKUs (or variants), price rules and pictures follow their product. SKUs are aliases of the product and give it
its options; rules only count where they set a fixed price.

Source: https://support.bigcommerce.com/s/article/Exporting-Products
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.aliases import Aliases
from jobs.ingest.sources.connector import ByName, Connector, has_columns, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount
from jobs.ingest.sources.spec import SourceSpec
from recsys.values.categories import longest_path

LABEL: Final = "BigCommerce products (CSV)"

_KIND: Final = ("Item Type", "Item")
_SKU: Final = ("Product Code/SKU", "SKU")
_STOCK: Final = ("Stock Level", "Current Stock", "Current Stock Level")
_OPTION: Final = re.compile(r"(?:\[[A-Z]+\])?([^=,]+)=([^,]+)")
_VARIANT_OPTION: Final = re.compile(r"Name=([^|]+)\|Value=([^|]+)")


def recognises(head: FileHead) -> bool:
    older = has_columns(head, "Item Type", "Product ID", "Product Code/SKU")
    return older or has_columns(head, "Item", "ID", "SKU", "Inventory Tracking")


def open_products(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "catalog", LABEL, lambda notes: _records(file, spec, notes))


CONNECTOR: Final = Connector("bigcommerce", LABEL, recognises, one_by_one(open_products))

_NumberedRow = tuple[int, Mapping[str, Any]]


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    aliases = Aliases()
    value, number = ByName(), 0
    product: list[_NumberedRow] = []
    for record in dict_rows(file, spec, "catalog"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        if value.at(row)(*_KIND).casefold() == "product":
            yield from _product(product, value, aliases, notes)
            product = [(number, row)]
        elif product:
            product.append((number, row))
        else:
            yield LeftOut("catalog", number, "row before the first product")
    yield from _product(product, value, aliases, notes)
    yield from aliases.rows(notes, number)


def _product(rows: list[_NumberedRow], value: ByName, aliases: Aliases, notes: Notes) -> Iterator[Row]:
    """The item of a product's row and the rows of its SKUs, rules and pictures."""
    if not rows:
        return
    number, first = rows[0]
    item = _item(value.at(first))
    aliases.add(value(*_SKU), item["item_id"])
    options: dict[str, list[str]] = {}
    stock: list[float] = []
    for _, row in rows[1:]:
        value.at(row)
        kind = value(*_KIND).casefold()
        if kind in ("sku", "variant"):
            notes["variants"] += 1
            aliases.add(value(*_SKU), item["item_id"])
            stock.append(amount(value(*_STOCK)) or 0.0)
            for name, option in _options(value):
                options.setdefault(name, [])
                options[name] += [option] if option not in options[name] else []
        elif kind == "rule":
            notes["price rules"] += 1
            fixed = amount(value("Price").removeprefix("[FIXED]")) if value("Price").startswith("[FIXED]") else None
            item["price"] = min(item["price"], fixed) if fixed and item["price"] else item["price"]
        else:
            notes["picture rows"] += 1
    tracked = value.at(first)("Track Inventory", "Inventory Tracking").casefold()
    level = amount(value(*_STOCK)) or 0.0
    if tracked in ("by product", "product"):
        item["available"] = item["available"] and level > 0
    elif tracked in ("by option", "variant") and stock:
        item["available"] = item["available"] and max(stock) > 0
    item["attributes"] |= options
    notes["items"] += 1
    yield Row("catalog", number, item)


def _item(value: ByName) -> dict[str, Any]:
    price, sale_price = amount(value("Price")), amount(value("Sale Price"))
    attributes: dict[str, Any] = {"condition": value("Product Condition"), "link": value("Product URL")}
    if sale_price and price and sale_price < price:
        attributes["list_price"], price = price, sale_price
    elif (retail := amount(value("Retail Price"))) and price and retail > price:
        attributes["list_price"] = retail
    is_visible = value("Product Visible?", "Is Visible").casefold() not in ("n", "no", "false", "0")
    is_sold = value("Allow Purchases?").casefold() not in ("n", "no", "false", "0")
    return {
        "item_id": value("Product ID", "ID"),
        "title": value("Product Name", "Name"),
        "description": value("Product Description", "Description"),
        "brand": value("Brand Name", "Brand"),
        "category": longest_path(value("Category", "Categories"), between=";", steps="/"),
        "price": price,
        "available": is_visible and is_sold and value("Product Availability").casefold() != "disabled",
        "attributes": {name: text for name, text in attributes.items() if text},
    }


def _options(value: ByName) -> list[tuple[str, str]]:
    """`[S]Size=M,[RB]Colour=Black` of the older editor, `Type=…|Name=Size|Value=M` of the newer one."""
    newer = _VARIANT_OPTION.findall(value("Options"))
    pairs = newer or _OPTION.findall(value("Product Name", "Name"))
    return [(name.strip().casefold(), option.strip()) for name, option in pairs]
