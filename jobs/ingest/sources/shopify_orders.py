"""Shopify's order export: a row a line item, the order's own fields on its first row alone.

A purchase is a product of an order, its lines summed. Cancelled, voided and test orders are left out; a fully refunded
one gives returns. The item is the line's SKU, which the product export makes an alias of its handle; a line without an
SKU is known by its name, `title:NAME`. The e-mail address is the shopper's id (stored as a keyed hash); an order
without one belongs to `order:NAME`.

Source: https://help.shopify.com/en/manual/orders/manage-orders/exporting-orders
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.connector import ByName, Connector, has_columns, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount
from jobs.ingest.sources.shopify_products import by_title
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "Shopify orders (CSV)"

_NumberedRow = tuple[int, Mapping[str, Any]]


def recognises(head: FileHead) -> bool:
    return has_columns(head, "Name", "Lineitem name", "Lineitem quantity") and has_columns(head, "Created at")


def open_orders(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", LABEL, lambda notes: _records(file, spec, notes))


CONNECTOR: Final = Connector("shopify", LABEL, recognises, one_by_one(open_orders))


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    rows: list[_NumberedRow] = []
    name, value = "", ByName()
    for record in dict_rows(file, spec, "events"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        if rows and value.at(row)("Name") != name:
            yield from _order(rows, value, notes)
            rows = []
        name = value.at(row)("Name")
        rows.append((number, row))
    if rows:
        yield from _order(rows, value, notes)


def _order(rows: list[_NumberedRow], value: ByName, notes: Notes) -> Iterator[Record]:
    """The events of one order, or why its lines are left out."""
    first = _filled([row for _, row in rows])
    value.at(first)
    notes["orders"] += 1
    reason = _left_out(value)
    if reason:
        yield from (LeftOut("events", number, reason) for number, _ in rows)
        return
    status = value("Financial Status").casefold()
    name = value("Name")
    user_id = value("Email").lower() or f"order:{name}"
    notes["orders without an e-mail address"] += not value("Email")
    notes["refunded orders"] += status == "refunded"
    common = {
        "user_id": user_id,
        "event_type": "return" if status == "refunded" else "purchase",
        "timestamp": value("Paid at", "Created at"),
        "session_id": name,
    }
    order_id = value("Id") or name
    events: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, row in rows:
        value.at(row)
        item_id = value("Lineitem sku").lstrip("'") or by_title(value("Lineitem name"))
        quantity = amount(value("Lineitem quantity")) or 0.0
        paid = (amount(value("Lineitem price")) or 0.0) * quantity - (amount(value("Lineitem discount")) or 0.0)
        notes["units"] += int(quantity)
        if item_id in events:
            event = events[item_id][1]
            event["value"] = round(event["value"] + paid, 2)
        else:
            event_id = f"shopify:{order_id}:{item_id}"
            events[item_id] = number, {"event_id": event_id, "item_id": item_id, "value": round(paid, 2)}
    yield from (Row("events", number, common | event) for number, event in events.values())


def _filled(rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The order's own fields: of each column the first value that is not blank."""
    filled: dict[str, Any] = {}
    for row in reversed(rows):
        filled |= {name: value for name, value in row.items() if value not in (None, "")}
    return filled


def _left_out(value: ByName) -> str:
    if value("Cancelled at"):
        return "cancelled order"
    status = value("Financial Status").casefold()
    if status in ("voided", "expired"):
        return f"{status} order"
    return "test order" if value("Source").casefold() == "test" or value("Payment Method").casefold() == "bogus" else ""
