"""Snowplow's e-commerce events: the wide table of a warehouse, or the tables of their own that Redshift has.

The action says what was done (`product_view`, `transaction`), the product context with what; each product is an event.
Events without an action are left out. In tables of their own, actions and products meet the events by `root_id`.

Source: https://docs.snowplow.io/docs/events/ootb-data/ecommerce-events/
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead, read_head
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.connector import Connector
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount
from jobs.ingest.sources.spec import SourceOptions, SourceSpec

LABEL: Final = "Snowplow e-commerce"

_TYPES: Final = {
    "product_view": "view",
    "list_view": "impression",
    "list_click": "click",
    "add_to_cart": "cart",
    "transaction": "purchase",
    "refund": "return",
}
_ACTION: Final = re.compile(r"unstruct_event_\w*snowplow_ecommerce_action\w*")
_PRODUCTS: Final = re.compile(r"contexts_\w*snowplow_ecommerce_product\w*")
_CATALOG: Final = ("name", "category", "brand", "price")

Products = dict[str, list[dict[str, Any]]]


def _is_wide(head: FileHead) -> bool:
    return any(_ACTION.fullmatch(name) for name in head.columns) and "event_id" in head.columns


def _is_atomic(head: FileHead) -> bool:
    return {"event_id", "domain_userid", "collector_tstamp"} <= set(head.columns) and not _is_wide(head)


def _is_products(head: FileHead) -> bool:
    return {"root_id", "id", "price"} <= set(head.columns)


def _is_actions(head: FileHead) -> bool:
    return {"root_id", "type"} <= set(head.columns) and not _is_products(head)


def recognises(head: FileHead) -> bool:
    return _is_wide(head) or _is_atomic(head) or _is_products(head) or _is_actions(head)


def open_files(files: Sequence[DataFile], spec: SourceSpec) -> list[RawFile]:
    """The tables of events; actions and products of tables of their own are joined to them."""
    heads = {file: read_head(file) for file in files}
    actions = [file for file in files if _is_actions(heads[file])]
    products = [file for file in files if _is_products(heads[file])]
    events = [file for file in files if _is_wide(heads[file]) or _is_atomic(heads[file])]
    others = (*actions, *products)
    return [
        record_file(file, "events", LABEL, _reader(file, actions, products, spec), others=others) for file in events
    ]


CONNECTOR: Final = Connector("snowplow", LABEL, recognises, open_files)


def _reader(file: DataFile, actions: Sequence[DataFile], products: Sequence[DataFile], spec: SourceSpec) -> Any:
    def records(notes: Notes) -> Iterator[Record]:
        yield from _records(file, _types(actions, spec), _by_root(products, spec), spec, notes)

    return records


def _types(files: Sequence[DataFile], spec: SourceSpec) -> dict[str, str]:
    """Event id -> the action's type, of tables of their own."""
    rows = (record for file in files for record in dict_rows(file, spec, "events") if isinstance(record, tuple))
    return {str(row["root_id"]): str(row["type"]) for _, row in rows}


def _by_root(files: Sequence[DataFile], spec: SourceSpec) -> Products:
    products: Products = defaultdict(list)
    for file in files:
        for record in dict_rows(file, spec, "events"):
            if isinstance(record, tuple):
                products[str(record[1]["root_id"])].append(record[1])
    return products


def _records(
    file: DataFile, types: Mapping[str, str], by_root: Products, spec: SourceSpec, notes: Notes
) -> Iterator[Record]:
    catalog: dict[str, dict[str, Any]] = {}
    number = 0
    for record in dict_rows(file, spec, "events"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        event_id = str(row["event_id"])
        action = next((_parsed(value) for name, value in row.items() if _ACTION.fullmatch(name)), None)
        kind = _first(action).get("type") if action else types.get(event_id)
        if not kind:
            yield LeftOut("events", number, "no e-commerce action")
            continue
        event_type = spec.options.mapped("events.event_type", str(kind)) or _TYPES.get(str(kind))
        listed = [_parsed(value) for name, value in row.items() if _PRODUCTS.fullmatch(name)]
        products = [product for value in listed if isinstance(value, list) for product in value]
        products = products or by_root.get(event_id, [])
        if not event_type:
            yield LeftOut("events", number, str(kind))
            continue
        if not products:
            yield LeftOut("events", number, f"{kind} without a product")
        for index, product in enumerate(products):
            yield Row("events", number, _event(row, event_type, index, product, spec.options))
            if spec.options.catalog_from_items and product.get("id"):
                known = {name: product[name] for name in _CATALOG if product.get(name)}
                catalog.setdefault(str(product["id"]), {}).update(known)
    notes["products"] += len(catalog)
    for item_id, known in catalog.items():
        title = known.pop("name", None)
        yield Row("catalog", number, {"item_id": item_id, "title": title} | known)


def _event(
    row: Mapping[str, Any], event_type: str, index: int, product: Mapping[str, Any], options: SourceOptions
) -> dict[str, Any]:
    login, browser = row.get("user_id"), row.get("domain_userid")
    user_id = login if options.user == "login" else browser if options.user == "pseudo" else login or browser
    event = {
        "event_id": f"{row['event_id']}:{index}",
        "user_id": user_id,
        "item_id": product.get("id"),
        "other_id": product.get("sku"),
        "event_type": event_type,
        "timestamp": row.get("derived_tstamp") or row.get("collector_tstamp"),
        "session_id": row.get("domain_sessionid"),
    }
    if event_type == "impression":
        event["position"] = product.get("position", index)
    price = amount(str(product.get("price") or ""))
    if event_type in ("cart", "purchase", "return") and price is not None:
        event["value"] = price * (amount(str(product.get("quantity") or "")) or 1.0)
    return event


def _parsed(value: Any) -> Any:
    """A JSON text, or a nested value of Parquet, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _first(action: Any) -> Mapping[str, Any]:
    listed = action[0] if isinstance(action, list) and action else action
    return listed if isinstance(listed, dict) else {}
