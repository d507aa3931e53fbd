"""Orders in JSON: Shopify's webhooks and Admin API, WooCommerce's REST API; one order, a list, or an API's answer.

An event is a line item, whose item is the product; the variant is an alias of it, and an SKU that the catalogue knows
counts before the product's id. Cancelled, test, failed and pending orders are left out; refunded ones give returns.

Source: https://shopify.dev/docs/api/admin-rest/latest/resources/order,
https://woocommerce.github.io/woocommerce-rest-api-docs/#orders
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.json_documents import read_objects
from jobs.ingest.readers.raw import BrokenRow, RawFile
from jobs.ingest.sources.aliases import Aliases
from jobs.ingest.sources.connector import Connector, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, record_file
from jobs.ingest.sources.scalars import amount
from jobs.ingest.sources.spec import SourceSpec

SHOPIFY: Final = "Shopify orders (JSON)"
WOOCOMMERCE: Final = "WooCommerce orders (JSON)"

_PAID_SHOPIFY: Final = ("paid", "partially_paid", "partially_refunded", "authorized", "")
_PAID_WOOCOMMERCE: Final = ("completed", "processing", "paid", "on-hold")

Order = dict[str, Any]


def recognises_shopify(head: FileHead) -> bool:
    return head.kind == "json" and {"line_items", "financial_status"} <= set(head.columns)


def recognises_woocommerce(head: FileHead) -> bool:
    return head.kind == "json" and {"line_items", "status", "customer_id"} <= set(head.columns)


def open_shopify(file: DataFile, _: SourceSpec) -> RawFile:
    return record_file(file, "events", SHOPIFY, lambda notes: _records(file, notes, _shopify_order))


def open_woocommerce(file: DataFile, _: SourceSpec) -> RawFile:
    return record_file(file, "events", WOOCOMMERCE, lambda notes: _records(file, notes, _woocommerce_order))


SHOPIFY_CONNECTOR: Final = Connector("shopify", SHOPIFY, recognises_shopify, one_by_one(open_shopify))
WOOCOMMERCE_CONNECTOR: Final = Connector(
    "woocommerce", WOOCOMMERCE, recognises_woocommerce, one_by_one(open_woocommerce)
)


def _records(file: DataFile, notes: Notes, read: Callable[[Order], tuple[str, dict[str, Any]]]) -> Iterator[Record]:
    """read: why an order is left out ("" where it is not), and what its events have in common."""
    aliases = Aliases()
    number = 0
    for number, order in read_objects(file):
        if isinstance(order, BrokenRow):
            yield order
            continue
        notes["orders"] += 1
        reason, common = read(order)
        notes["orders without a shopper"] += str(common.get("user_id", "")).startswith("order:")
        for position, line in enumerate(_listed(order.get("line_items"))):
            if reason:
                yield LeftOut("events", number, reason)
            else:
                yield Row("events", number, common | _line(line, position, common["session_id"], aliases))
    yield from aliases.rows(notes, number)


def _line(line: dict[str, Any], position: int, order: str, aliases: Aliases) -> dict[str, Any]:
    product, sku = _id(line.get("product_id")), _id(line.get("sku"))
    variant = _id(line.get("variant_id")) or _id(line.get("variation_id"))
    if product:
        aliases.add(variant, product)
    quantity = amount(str(line.get("quantity") or "")) or 0.0
    price = amount(str(line.get("price") or ""))
    total = amount(str(line.get("total") or ""))
    value = total if total is not None else None if price is None else round(price * quantity, 2)
    return {
        "event_id": f"order:{order}:{_id(line.get('id')) or position}",
        "item_id": product or sku or variant,
        "other_id": sku,
        "value": value,
    }


def _shopify_order(order: Order) -> tuple[str, dict[str, Any]]:
    status = str(order.get("financial_status") or "").casefold()
    customer = order.get("customer")
    customer_id = _id(customer.get("id")) if isinstance(customer, dict) else ""
    name = _id(order.get("name")) or _id(order.get("id"))
    common = {
        "user_id": customer_id or _email(order.get("email")) or _email(order.get("contact_email")) or f"order:{name}",
        "event_type": "return" if status == "refunded" else "purchase",
        "timestamp": order.get("processed_at") or order.get("created_at"),
        "session_id": _id(order.get("id")) or name,
    }
    if order.get("test"):
        return "test order", common
    if order.get("cancelled_at"):
        return "cancelled order", common
    return "" if status in (*_PAID_SHOPIFY, "refunded") else f"{status} order", common


def _woocommerce_order(order: Order) -> tuple[str, dict[str, Any]]:
    status = str(order.get("status") or "").casefold()
    billing = order.get("billing")
    email = _email(billing.get("email")) if isinstance(billing, dict) else ""
    order_id = _id(order.get("id"))
    refunded = sum(abs(amount(str(refund.get("total") or "")) or 0.0) for refund in _listed(order.get("refunds")))
    total = amount(str(order.get("total") or "")) or 0.0
    is_return = status == "refunded" or (refunded > 0 and refunded >= total)
    common = {
        "user_id": _id(order.get("customer_id")) or email or f"order:{order_id}",
        "event_type": "return" if is_return else "purchase",
        "timestamp": order.get("date_created_gmt") or order.get("date_created"),
        "session_id": order_id,
    }
    return "" if is_return or status in _PAID_WOOCOMMERCE else f"{status} order", common


def _listed(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _id(value: Any) -> str:
    """An id as text; "" for none, and for the 0 that stands for none."""
    return "" if value in (None, "", 0, "0") else str(value).strip()


def _email(value: Any) -> str:
    return str(value or "").strip().lower()
