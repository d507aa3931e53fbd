"""Segment's and RudderStack's event streams: lines of track, identify, page and other calls.

`track` calls of the e-commerce specification give an event for each product, in its second version and in the names of
the first; reviews become reviews. Other calls are left out by name. The shopper is `userId`, else the id with which the
same `anonymousId` is identified anywhere in the file, else `anonymousId`.

Source: https://segment.com/docs/connections/spec/ecommerce/v2/,
https://www.rudderstack.com/docs/event-spec/ecommerce-events-spec/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobs.ingest.column_aliases import plain_name
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.json_documents import read_objects
from jobs.ingest.readers.raw import BrokenRow, RawFile
from jobs.ingest.sources.connector import Connector, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, record_file
from jobs.ingest.sources.scalars import amount
from jobs.ingest.sources.spec import SourceOptions, SourceSpec

SEGMENT: Final = "Segment events"
RUDDERSTACK: Final = "RudderStack events"

_CALLS: Final = frozenset({"track", "identify", "page", "screen", "group", "alias", "merge"})
_NAMES: Final = {
    "view": ("Product Viewed", "Viewed Product"),
    "click": ("Product Clicked", "Clicked Product"),
    "impression": ("Product List Viewed", "Product List Filtered", "Viewed Product Category", "Viewed Product List"),
    "cart": ("Product Added", "Added Product"),
    "purchase": ("Order Completed", "Completed Order"),
    "return": ("Order Refunded", "Refunded Order"),
    "search": ("Products Searched", "Searched Products", "Product Searched"),
    "review": ("Product Reviewed", "Reviewed Product"),
}
_KINDS: Final = {plain_name(name): kind for kind, names in _NAMES.items() for name in names}
_WITH_VALUE: Final = ("cart", "purchase", "return")

Call = Mapping[str, Any]


def recognises(head: FileHead) -> bool:
    if head.kind != "json" or not head.rows:
        return False
    calls = [_call(row) for row in head.rows]
    return all(call.get("type") in _CALLS and ("anonymousId" in call or "userId" in call) for call in calls)


def recognises_rudderstack(head: FileHead) -> bool:
    return recognises(head) and any(_is_rudderstack(_call(row)) for row in head.rows)


def open_segment(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", SEGMENT, lambda notes: _records(file, spec, notes))


def open_rudderstack(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", RUDDERSTACK, lambda notes: _records(file, spec, notes))


RUDDERSTACK_CONNECTOR: Final = Connector(
    "rudderstack", RUDDERSTACK, recognises_rudderstack, one_by_one(open_rudderstack)
)
SEGMENT_CONNECTOR: Final = Connector("segment", SEGMENT, recognises, one_by_one(open_segment))


def _call(entry: Call) -> Call:
    """The call itself, where a line wraps it as `message`."""
    message = entry.get("message")
    return message if isinstance(message, dict) and "type" in message else entry


def _is_rudderstack(call: Call) -> bool:
    library = _mapping(_mapping(call.get("context")).get("library"))
    return "rudderId" in call or "rudder" in str(library.get("name", "")).casefold()


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    identified = _identified(file)
    notes["identified browsers"] += len(identified)
    for number, entry in read_objects(file):
        if isinstance(entry, BrokenRow):
            yield entry
            continue
        call = _call(entry)
        name = str(call.get("event") or call.get("type") or "no type")
        kind = spec.options.mapped("events.event_type", name) or _KINDS.get(plain_name(name))
        if call.get("type") != "track" or not kind:
            yield LeftOut("events", number, name if call.get("type") == "track" else str(call.get("type")))
            continue
        user_id = _user(call, identified, spec.options)
        if not user_id:
            yield LeftOut("events", number, "no shopper id")
        else:
            yield from _events(number, call, kind, user_id)


def _identified(file: DataFile) -> dict[str, str]:
    """Anonymous id -> the user id that a call of the same browser has."""
    identified = {}
    for _, entry in read_objects(file):
        call = {} if isinstance(entry, BrokenRow) else _call(entry)
        if call.get("userId") and call.get("anonymousId"):
            identified[str(call["anonymousId"])] = str(call["userId"])
    return identified


def _user(call: Call, identified: Mapping[str, str], options: SourceOptions) -> str:
    login, browser = str(call.get("userId") or ""), str(call.get("anonymousId") or "")
    if options.user == "login":
        return login
    return browser if options.user == "pseudo" else login or identified.get(browser, browser)


def _events(number: int, call: Call, kind: str, user_id: str) -> Iterator[Record]:
    properties = _mapping(call.get("properties"))
    message = call.get("messageId")
    common: dict[str, Any] = {
        "user_id": user_id,
        "timestamp": call.get("timestamp") or call.get("originalTimestamp") or call.get("receivedAt"),
    }
    if kind == "review":
        review = {"review_id": properties.get("review_id") or message, "item_id": _item_id(properties)}
        review |= {"rating": properties.get("rating"), "text": properties.get("review_body")}
        yield Row("reviews", number, common | review)
        return
    context = _mapping(call.get("context"))
    common |= {"event_type": kind, "session_id": context.get("sessionId") or context.get("session_id")}
    if kind == "search":
        yield Row("events", number, common | {"event_id": f"{message}:0", "text": properties.get("query")})
        return
    products = properties.get("products")
    listed = [product for product in products if isinstance(product, dict)] if isinstance(products, list) else []
    for position, product in enumerate(listed or [properties]):
        event = {"event_id": f"{message}:{position}", "item_id": _item_id(product), "other_id": product.get("sku")}
        if kind in _WITH_VALUE and (price := amount(str(product.get("price") or ""))) is not None:
            event["value"] = price * (amount(str(product.get("quantity") or "")) or 1.0)
        if kind == "impression":
            event["position"] = product.get("position", position)
        yield Row("events", number, common | event)


def _item_id(product: Call) -> Any:
    return product.get("product_id") or product.get("id") or product.get("sku")


def _mapping(value: Any) -> Call:
    return value if isinstance(value, dict) else {}
