"""PrestaShop's product files: the layout of its import (1.4 to 8) and the export of the product list.

Headers differ by version and language: `Active (0/1)`, `Name *`, `Categories (x,y,z...)`. The price is as the file has
it, with or without tax, less a discount while it is in force. References are aliases of the product.

Source: https://docs.prestashop-project.org/v.8-documentation/user-guide/configuring-shop/advanced-parameters/import
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jobs.ingest.column_aliases import plain_name
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.aliases import Aliases
from jobs.ingest.sources.connector import ByName, Connector, has_columns, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount, in_force
from jobs.ingest.sources.spec import SourceSpec
from recsys.values.categories import longest_path

LABEL: Final = "PrestaShop products (CSV)"

_ID: Final = ("Product ID", "ID", "ID produit", "Produkt ID")
_NAME: Final = ("Name", "Nom", "Nombre", "Bezeichnung")
_REFERENCE: Final = ("Reference", "Reference #", "Référence", "Artikelnummer", "Referencia")
_BRAND: Final = ("Manufacturer", "Brand", "Marque", "Fabricant", "Marke", "Marca", "Supplier")
_ACTIVE: Final = ("active", "actif", "aktiv", "activo", "status", "statut", "enabled")


def recognises(head: FileHead) -> bool:
    names = {plain_name(column) for column in head.columns}
    import_file = any(name.endswith("01") and name.startswith(_ACTIVE) for name in names)
    product_list = has_columns(head, "Product ID", "Name", "Reference", "Price (tax excl.)")
    return product_list or (import_file and bool(names & {plain_name(name) for name in _NAME}))


def open_products(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "catalog", LABEL, lambda notes: _records(file, spec, notes))


CONNECTOR: Final = Connector("prestashop", LABEL, recognises, one_by_one(open_products))


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    aliases = Aliases()
    value, number = ByName(), 0
    for record in dict_rows(file, spec, "catalog"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        item = _item(value.at(row))
        if not (item["item_id"] or item["title"]):
            yield LeftOut("catalog", number, "blank row")
            continue
        notes["items"] += 1
        aliases.add(value(*_REFERENCE), item["item_id"])
        yield Row("catalog", number, item)
    yield from aliases.rows(notes, number)


def _item(value: ByName) -> dict[str, Any]:
    full_price = amount(value.starting("pricetax", "price", "prix", "preis", "precio"))
    price = _reduced(value, full_price)
    attributes: dict[str, Any] = {"condition": value.starting("condition"), "mpn": value("MPN"), "ean": value("EAN13")}
    attributes["tags"] = [tag for part in value.starting("tags").split(",") if (tag := part.strip())]
    for feature in value.starting("featurename", "feature").split(","):
        name, _, rest = feature.partition(":")
        if name.strip() and rest:
            attributes[name.strip().casefold()] = rest.split(":")[0].strip()
    if price is not None and full_price is not None and price < full_price:
        attributes["list_price"] = full_price
    return {
        "item_id": value(*_ID) or value(*_REFERENCE),
        "title": value(*_NAME),
        "description": " ".join(
            text for text in (value.starting("summary", "shortdesc"), value("Description")) if text
        ),
        "brand": value(*_BRAND),
        "category": longest_path(value.starting("categor", "kategorie"), between=",", steps="/"),
        "price": price,
        "available": _is_available(value),
        "attributes": {name: text for name, text in attributes.items() if text},
    }


def _reduced(value: ByName, price: float | None) -> float | None:
    """The price less the discount's amount or per cent, while it is in force."""
    if price is None or not in_force(value.starting("discountfrom"), value.starting("discountto")):
        return price
    less, percent = amount(value.starting("discountamount")), amount(value.starting("discountpercent"))
    return round(price - (less or 0.0) - price * (percent or 0.0) / 100, 4)


def _is_available(value: ByName) -> bool:
    quantity = amount(value.starting("quantity", "quantite", "menge", "cantidad"))
    sells_anyway = value.starting("outofstockaction", "outofstock") == "1"
    return (
        value.starting(*_ACTIVE) not in ("0", "false", "no")
        and value.starting("availablefororder") != "0"
        and value.starting("visibility").casefold() != "none"
        and (quantity is None or quantity > 0 or sells_anyway)
    )
