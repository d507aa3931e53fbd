"""UCI's Online Retail and Online Retail II: invoices of a British wholesaler, CSV or Excel.

A purchase is a product of an invoice, its lines summed. Invoices that begin with C are returns. A buyer without a
customer number is `order:INVOICE`. Postage, fees and corrections of stock are no products and are left out. The
catalogue comes from the lines: the last description and price of each product.

Source: https://archive.ics.uci.edu/dataset/502/online+retail+ii
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import BrokenRow, RawFile
from jobs.ingest.sources.connector import ByName, Connector, has_columns, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "Online Retail"

_PRODUCT_CODE: Final = re.compile(r"\d{5}[A-Za-z]*")
"""Stock codes of products; POST, D, M, DOT, C2, BANK CHARGES, AMAZONFEE, gift_0001_10 and others are none."""

_INVOICE: Final = ("Invoice", "InvoiceNo")
_PRICE: Final = ("Price", "UnitPrice")
_CUSTOMER: Final = ("Customer ID", "CustomerID")


def recognises(head: FileHead) -> bool:
    has_invoice = has_columns(head, "Invoice") or has_columns(head, "InvoiceNo")
    return has_invoice and has_columns(head, "StockCode", "Description", "Quantity", "InvoiceDate")


def open_file(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", LABEL, lambda notes: _records(file, spec, notes))


CONNECTOR: Final = Connector("online-retail", LABEL, recognises, one_by_one(open_file))


@dataclass
class _Line:
    number: int
    event: dict[str, Any]


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    products: dict[str, dict[str, Any]] = {}
    invoice, lines = "", dict[str, _Line]()
    value, number = ByName(), 0
    for record in dict_rows(file, spec, "events"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        value.at(row)
        if value(*_INVOICE) != invoice:
            yield from (Row("events", line.number, line.event) for line in lines.values())
            invoice, lines = value(*_INVOICE), {}
            notes["invoices"] += 1
        refused = _refused(number, value)
        if refused is not None:
            yield refused
            continue
        _add_line(lines, number, value)
        item = products.setdefault(value("StockCode"), {"item_id": value("StockCode")})
        item |= {
            "title": value("Description") or item.get("title"),
            "price": amount(value(*_PRICE)) or item.get("price"),
        }
    yield from (Row("events", line.number, line.event) for line in lines.values())
    notes["products"] += len(products)
    yield from (Row("catalog", number, item) for item in products.values())


def _refused(number: int, value: ByName) -> Record | None:
    """Why a line is no purchase or return of a product; None where it is one."""
    quantity = amount(value("Quantity"))
    if not value("StockCode") or quantity is None:
        return BrokenRow(number, "quantity|dtype", f"invoice {value(*_INVOICE)}: {value('Quantity')}")
    if not _PRODUCT_CODE.fullmatch(value("StockCode")):
        return LeftOut("events", number, f"no product: {value('StockCode')}")
    if quantity < 0 and not value(*_INVOICE).startswith("C"):
        return LeftOut("events", number, "correction of stock")
    return None


def _add_line(lines: dict[str, _Line], number: int, value: ByName) -> None:
    """Add a line to the event of its product on the invoice."""
    invoice, code = value(*_INVOICE), value("StockCode")
    paid = abs(amount(value("Quantity")) or 0.0) * (amount(value(*_PRICE)) or 0.0)
    if code in lines:
        lines[code].event["value"] = round(lines[code].event["value"] + paid, 2)
        return
    customer = value(*_CUSTOMER).removesuffix(".0")
    lines[code] = _Line(
        number,
        {
            "event_id": f"retail:{invoice}:{code}",
            "user_id": customer or f"order:{invoice}",
            "item_id": code,
            "event_type": "return" if invoice.startswith("C") else "purchase",
            "timestamp": value("InvoiceDate"),
            "session_id": invoice,
            "value": round(paid, 2),
        },
    )
