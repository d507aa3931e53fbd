"""Magento and Adobe Commerce: the catalogue's standard export, and the shorter layout of import files.

The export has a row an SKU and one more for each store view that says something else. Products that are not visible
alone are variants: the parent's `configurable_variations` names them, they become aliases of it and give it its least
price, its options and its stock. `--store-view` lays the texts of one view over the default ones.

Source: https://experienceleague.adobe.com/en/docs/commerce-admin/systems/data-transfer/data-export
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.aliases import Aliases
from jobs.ingest.sources.connector import ByName, Connector, has_columns, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount, in_force
from jobs.ingest.sources.spec import SourceSpec
from recsys.values.categories import longest_path

LABEL: Final = "Magento products (CSV)"

_NEXT_ATTRIBUTE: Final = re.compile(r",(?=[a-z][a-z0-9_]*=)")
_NOT_ATTRIBUTES: Final = frozenset(
    {"has_options", "required_options", "ts_dimensions_height", "gift_message_available"}
)
_HIDDEN: Final = "not visible individually"


def recognises(head: FileHead) -> bool:
    export = has_columns(head, "sku", "product_type", "attribute_set_code")
    return export or has_columns(head, "sku", "name", "price", "attribute_set")


def open_products(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "catalog", LABEL, lambda notes: _records(file, spec, notes))


CONNECTOR: Final = Connector("magento", LABEL, recognises, one_by_one(open_products))


@dataclass
class _Family:
    """What the first reading collects of all products. parents: SKU of a variant -> SKU of its parent; options: of a
    parent, by name; prices: by SKU; in_stock: SKUs; overlays: SKU -> the chosen store view's values."""

    parents: dict[str, str] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)
    options: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)
    in_stock: set[str] = field(default_factory=set)
    overlays: dict[str, dict[str, Any]] = field(default_factory=dict)


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    family = _read_family(file, spec)
    aliases = Aliases()
    value, number = ByName(), 0
    for record in dict_rows(file, spec, "catalog"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        value.at(row)
        sku, store_view = value("sku"), value("store_view_code")
        is_hidden = value("visibility").casefold() == _HIDDEN
        if store_view:
            notes["rows of store views"] += 1
            yield LeftOut("catalog", number, f"store view {store_view}")
        elif is_hidden and sku in family.parents:
            notes["variants"] += 1
            aliases.add(sku, family.parents[sku])
        elif is_hidden:
            yield LeftOut("catalog", number, "not visible individually")
        else:
            notes["items"] += 1
            yield Row("catalog", number, _item(ByName().at(row | family.overlays.get(sku, {})), family))
    yield from aliases.rows(notes, number)


def _read_family(file: DataFile, spec: SourceSpec) -> _Family:
    family = _Family()
    value = ByName()
    for record in dict_rows(file, spec, "catalog"):
        if not isinstance(record, tuple):
            continue
        _, row = record
        value.at(row)
        sku = value("sku")
        if store_view := value("store_view_code"):
            if store_view == spec.options.store_view:
                family.overlays[sku] = {name: text for name, text in row.items() if text not in (None, "")}
            continue
        price = _price(value)
        if price is not None:
            family.prices[sku] = price
        if _is_in_stock(value):
            family.in_stock.add(sku)
        for variation in value("configurable_variations").split("|"):
            pairs = dict(part.split("=", 1) for part in variation.split(",") if "=" in part)
            if child := pairs.pop("sku", ""):
                family.parents[child] = sku
                family.children.setdefault(sku, []).append(child)
                for name, option in pairs.items():
                    options = family.options.setdefault(sku, {}).setdefault(name, [])
                    options += [option] if option not in options else []
    return family


def _item(value: ByName, family: _Family) -> dict[str, Any]:
    sku = value("sku")
    children = family.children.get(sku) or _parts(value)
    in_stock = _is_in_stock(value)
    price = _price(value)
    if children:
        prices = [family.prices[child] for child in children if child in family.prices]
        price = min(prices, default=price)
        in_stock = in_stock and any(child in family.in_stock for child in children)
    list_price = amount(value("price"))
    attributes = _attributes(value) | family.options.get(sku, {})
    if price is not None and list_price is not None and list_price > price and not children:
        attributes["list_price"] = list_price
    is_online = value("product_online", "status").casefold() not in ("0", "2", "disabled")
    return {
        "item_id": sku,
        "title": value("name"),
        "description": value("description", "short_description"),
        "brand": value("manufacturer", "brand"),
        "category": _category(value),
        "price": price,
        "available": is_online and in_stock,
        "updated_at": value("updated_at"),
        "attributes": attributes,
    }


def _price(value: ByName) -> float | None:
    """The special price while it is in force, else the price; 0 is none: configurable products have it."""
    special = amount(value("special_price"))
    if special and in_force(value("special_price_from_date"), value("special_price_to_date")):
        return special
    return amount(value("price")) or None


def _is_in_stock(value: ByName) -> bool:
    """`is_in_stock` where the file has it, else a quantity above 0 or none given."""
    if stock := value("is_in_stock"):
        return stock != "0"
    quantity = amount(value("qty"))
    return quantity is None or quantity > 0


def _parts(value: ByName) -> list[str]:
    """The SKUs of a grouped product or a bundle, which have no price themselves."""
    grouped = [part.split("=")[0] for part in value("associated_skus").split(",")]
    bundled = re.findall(r"(?:^|[|,])sku=([^,|]+)", value("bundle_values"))
    return [sku for sku in (*grouped, *bundled) if sku]


def _category(value: ByName) -> str | None:
    """The longest path without `Default Category`; of an import file's list the first two names."""
    if paths := value("categories"):
        return longest_path(paths, between=",", steps="/")
    return " > ".join(name.strip() for name in value("category").split("\n")[:2] if name.strip()) or None


def _attributes(value: ByName) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for pair in _NEXT_ATTRIBUTE.split(value("additional_attributes")):
        name, equals, text = pair.partition("=")
        if equals and name not in _NOT_ATTRIBUTES and text:
            attributes[name] = _one_or_list(text.split("|"))
    for column in ("pattern", "material", "activity", "size", "color", "gender", "climate"):
        if text := value(column):
            attributes.setdefault(column, _one_or_list(text.split("\n")))
    return attributes


def _one_or_list(parts: list[str]) -> str | list[str]:
    texts = [part.strip() for part in parts if part.strip()]
    return texts[0] if len(texts) == 1 else texts
