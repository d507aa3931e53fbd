"""WooCommerce's product export (CSV).

Variations are folded into their parent, whose SKU or `id:NUMBER` they name; they give it the least price and are
aliases of it, by id and by SKU. Groups of products are left out. The item's id is WooCommerce's own, which pixels and
the REST API use as well.

Source: https://woocommerce.com/document/product-csv-importer-exporter/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources import reviews
from jobs.ingest.sources.aliases import Aliases
from jobs.ingest.sources.connector import ByName, Connector, has_columns, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount, flag, in_force
from jobs.ingest.sources.spec import SourceSpec
from recsys.values.categories import longest_path

LABEL: Final = "WooCommerce products (CSV)"
REVIEWS: Final = "WooCommerce reviews (JSON)"

MAX_ATTRIBUTES: Final = 30


def recognises(head: FileHead) -> bool:
    return has_columns(head, "Type", "SKU", "Name", "Published") and has_columns(head, "Regular price")


def recognises_reviews(head: FileHead) -> bool:
    return head.kind == "json" and {"review", "reviewer", "product_id", "rating"} <= set(head.columns)


def open_products(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "catalog", LABEL, lambda notes: _records(file, spec, notes))


CONNECTOR: Final = Connector("woocommerce", LABEL, recognises, one_by_one(open_products))
REVIEWS_CONNECTOR: Final = Connector(
    "woocommerce", REVIEWS, recognises_reviews, one_by_one(lambda file, spec: reviews.open_reviews(file, spec, REVIEWS))
)


@dataclass
class _Variations:
    """Of one parent: prices with the price before a reduction, ids and SKUs, and whether any is in stock."""

    prices: list[tuple[float, float | None]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    in_stock: bool = False


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    families = _families(file, spec)
    aliases = Aliases()
    value, number = ByName(), 0
    for record in dict_rows(file, spec, "catalog"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        kinds = _kinds(value.at(row))
        parent_is_known = value("Parent") in families.parents if "variation" in kinds else False
        if "variation" in kinds and parent_is_known:
            notes["variations"] += 1
        elif "grouped" in kinds:
            yield LeftOut("catalog", number, "grouped product")
        else:
            notes["items"] += 1
            item_id = value("ID") or value("SKU")
            variations = families.of(value("ID"), value("SKU"))
            for alias in (value("SKU"), *variations.ids):
                aliases.add(alias, item_id)
            yield Row("catalog", number, _item(value, item_id, variations))
    yield from aliases.rows(notes, number)


@dataclass
class _Families:
    """variations: by what their rows name as parent; parents: references of products that are in the file."""

    variations: dict[str, _Variations] = field(default_factory=dict)
    parents: set[str] = field(default_factory=set)

    def of(self, number: str, sku: str) -> _Variations:
        """Those of a product, however they name it."""
        references = [name for name in (sku, f"id:{number}") if name in self.variations]
        return self.variations[references[0]] if references else _Variations()


def _families(file: DataFile, spec: SourceSpec) -> _Families:
    families = _Families()
    value = ByName()
    for record in dict_rows(file, spec, "catalog"):
        if not isinstance(record, tuple):
            continue
        _, row = record
        if "variation" not in _kinds(value.at(row)):
            families.parents |= {value("SKU"), f"id:{value('ID')}"}
            continue
        variations = families.variations.setdefault(value("Parent"), _Variations())
        price, list_price = _prices(value)
        if price is not None:
            variations.prices.append((price, list_price))
        variations.ids += [value("ID"), value("SKU")]
        variations.in_stock = variations.in_stock or (_is_published(value) and _in_stock(value))
    return families


def _kinds(value: ByName) -> set[str]:
    """`simple, downloadable, virtual` are three."""
    return {kind.strip() for kind in value("Type").casefold().split(",")}


def _item(value: ByName, item_id: str, variations: _Variations) -> dict[str, Any]:
    price, list_price = _prices(value)
    in_stock = _in_stock(value)
    if variations.prices:
        price, list_price = min(variations.prices, key=lambda prices: prices[0])
    if variations.ids:
        in_stock = in_stock and variations.in_stock
    attributes: dict[str, Any] = {"tags": _parts(value("Tags")), "list_price": list_price}
    for number in range(1, MAX_ATTRIBUTES):
        if name := value(f"Attribute {number} name"):
            attributes[name.casefold()] = _parts(value(f"Attribute {number} value(s)"))
    is_visible = value("Visibility in catalog").casefold() != "hidden"
    texts = (value("Short description"), value("Description"))
    return {
        "item_id": item_id,
        "title": value("Name"),
        "description": " ".join(text for text in texts if text),
        "brand": value("Brands", "Brand"),
        "category": longest_path(value("Categories"), between=",", steps=">"),
        "price": price,
        "available": _is_published(value) and is_visible and in_stock,
        "attributes": {name: text for name, text in attributes.items() if text},
    }


def _prices(value: ByName) -> tuple[float | None, float | None]:
    """The price of today, and the regular one where that is higher."""
    regular = amount(value("Regular price"))
    sale = amount(value("Sale price"))
    if sale is not None and in_force(value("Date sale price starts"), value("Date sale price ends")):
        return sale, regular if regular and regular > sale else None
    return regular, None


def _is_published(value: ByName) -> bool:
    return value("Published") in ("1", "true", "yes", "")


def _in_stock(value: ByName) -> bool:
    """`backorder` is sold; a blank says nothing."""
    return flag(value("In stock?")) is not False


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
