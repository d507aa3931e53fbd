"""Matomo's Live API (`Live.getLastVisitsDetails`), JSON or XML: visits, each with its actions.

Product views, abandoned carts, orders and site searches become events; other actions are left out by type. The shopper
is the user id, else the visitor id.

Source: https://developer.matomo.org/api-reference/reporting-api#Live
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.json_documents import read_objects
from jobs.ingest.readers.raw import BrokenRow, RawFile
from jobs.ingest.readers.xml_documents import local_name, read_elements
from jobs.ingest.sources.connector import Connector, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, record_file
from jobs.ingest.sources.scalars import amount
from jobs.ingest.sources.spec import SourceOptions, SourceSpec

LABEL: Final = "Matomo visits"

_ORDERS: Final = {"ecommerceOrder": "purchase", "ecommerceAbandonedCart": "cart"}

Values = Mapping[str, Any]


def recognises(head: FileHead) -> bool:
    if head.kind == "xml":
        return head.root == "result" and any(
            "actionDetails" in _values(element) for _, element in _first_visits(head.file)
        )
    return head.kind == "json" and {"idVisit", "actionDetails"} <= set(head.columns)


def open_visits(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", LABEL, lambda notes: _records(file, spec.options, notes))


CONNECTOR: Final = Connector("matomo", LABEL, recognises, one_by_one(open_visits))


def _records(file: DataFile, options: SourceOptions, notes: Notes) -> Iterator[Record]:
    for number, visit in _visits(file):
        if isinstance(visit, BrokenRow):
            yield visit
            continue
        notes["visits"] += 1
        login, browser = str(visit.get("userId") or ""), str(visit.get("visitorId") or "")
        user_id = login if options.user == "login" else browser if options.user == "pseudo" else login or browser
        common = {"user_id": user_id, "session_id": visit.get("idVisit")}
        for position, action in enumerate(_listed(visit.get("actionDetails")), start=1):
            place = action.get("pageviewPosition") or position
            at = action.get("timestamp") or action.get("serverTimePretty") or visit.get("serverTimestamp")
            yield from _action(number, action, common | {"timestamp": at}, f"{visit.get('idVisit')}:{place}")


def _action(number: int, action: Values, common: dict[str, Any], key: str) -> Iterator[Record]:
    kind = str(action.get("type"))
    if kind in _ORDERS:
        event_type = _ORDERS[kind]
        order = action.get("orderId") or key
        for item in _listed(action.get("itemDetails")):
            sku = item.get("itemSKU")
            price, quantity = amount(str(item.get("price") or "")), amount(str(item.get("quantity") or ""))
            event = {"event_id": f"{key}:{kind}:{order}:{sku}", "item_id": sku, "event_type": event_type}
            event["value"] = None if price is None else price * (quantity or 1.0)
            yield Row("events", number, common | event)
    elif kind == "search":
        text = action.get("siteSearchKeyword") or action.get("subtitle")
        yield Row("events", number, common | {"event_id": f"{key}:search", "event_type": "search", "text": text})
    elif sku := action.get("productViewSku"):
        yield Row("events", number, common | {"event_id": f"{key}:view:{sku}", "event_type": "view", "item_id": sku})
    else:
        yield LeftOut("events", number, kind)


def _visits(file: DataFile) -> Iterator[tuple[int, Values | BrokenRow]]:
    with file.open() as content:
        is_xml = content.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    if is_xml:
        yield from ((number, _values(element)) for number, element in _first_visits(file))
    else:
        yield from read_objects(file)


def _first_visits(file: DataFile) -> Iterator[tuple[int, Any]]:
    """The rows below the root; rows inside them are actions and items."""
    number = 0
    for _, element in read_elements(file, ("result",)):
        for visit in element:
            if local_name(visit) == "row":
                number += 1
                yield number, visit


def _values(element: Any) -> dict[str, Any]:
    """An element's children by name; a child that holds rows is a list of them."""
    values: dict[str, Any] = {}
    for child in element:
        rows = [_values(row) for row in child if local_name(row) == "row"]
        values[local_name(child)] = rows or (child.text or "").strip()
    return values


def _listed(value: Any) -> list[Values]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
