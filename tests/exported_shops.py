"""One invented shop as different systems export it: the same products, shoppers and orders in each layout."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from xml.sax.saxutils import escape

END: Final = datetime(2026, 11, 28, 20, tzinfo=UTC)
SIZES: Final = ("S", "M", "L")
_KINDS: Final = {
    "Kitchen > Cookware": ("Saucepan", "Frying Pan", "Casserole", "Wok"),
    "Kitchen > Knives": ("Chef Knife", "Bread Knife", "Peeler", "Cleaver"),
    "Garden > Tools": ("Spade", "Rake", "Pruner", "Watering Can"),
    "Garden > Furniture": ("Bench", "Parasol", "Folding Chair", "Hammock"),
    "Sport > Running": ("Running Shirt", "Running Shorts", "Running Cap", "Running Socks"),
    "Sport > Climbing": ("Climbing Harness", "Chalk Bag", "Climbing Rope", "Carabiner"),
}
_WORDS: Final = ("Classic", "Light", "Nordic", "Urban", "Robust", "Fine", "Little", "Grand", "Swift", "Calm", "Bold")
_MATERIALS: Final = ("Steel", "Oak", "Cotton", "Linen", "Copper", "Wool", "Bamboo", "Canvas", "Ceramic", "Cork")
_BRANDS: Final = ("Norvik", "Hearthline", "Tallow & Sons", "Brightfield", "Osprey Works")


@dataclass(frozen=True)
class Product:
    number: int
    title: str
    brand: str
    category: str
    price: float
    sizes: tuple[str, ...]

    @property
    def handle(self) -> str:
        return f"{self.title.lower().replace(' ', '-').replace('&', 'and')}-{self.number}"

    def sku(self, size: str) -> str:
        return f"SKU-{self.number:04}-{size}"

    @property
    def text(self) -> str:
        return (
            f"<p>{self.title} by {escape(self.brand)}.<br>For {self.category.split(' > ')[-1].lower()} &amp; more.</p>"
        )


@dataclass(frozen=True)
class Action:
    """What a shopper did: view or purchase, `size` of the product."""

    number: int
    email: str
    kind: str
    product: Product
    size: str
    at: datetime


@dataclass(frozen=True)
class Shop:
    products: Sequence[Product]
    actions: Sequence[Action]


def invented_shop(n_products: int = 300, n_actions: int = 2_000, n_shoppers: int = 120, seed: int = 0) -> Shop:
    """Shoppers who mostly stay with one of six kinds of products. The same arguments give the same shop."""
    draw = random.Random(seed)
    products = [_product(number, draw) for number in range(1, n_products + 1)]
    by_category = {category: [p for p in products if p.category == category] for category in _KINDS}
    categories = list(_KINDS)
    actions = []
    for number in range(n_actions):
        shopper = draw.randrange(n_shoppers)
        liked = categories[shopper % len(categories)]
        shelf = by_category[liked if draw.random() < 0.85 else draw.choice(categories)]
        product = shelf[min(int(draw.expovariate(6 / len(shelf))), len(shelf) - 1)]
        at = END - timedelta(minutes=draw.randrange(60 * 24 * 60))
        kind = "purchase" if draw.random() < 0.4 else "view"
        size = draw.choice(product.sizes)
        actions.append(Action(number, f"shopper{shopper}@example.com", kind, product, size, at))
    return Shop(products, sorted(actions, key=lambda action: action.at))


def _product(number: int, draw: random.Random) -> Product:
    category = list(_KINDS)[number % len(_KINDS)]
    title = f"{draw.choice(_WORDS)} {draw.choice(_MATERIALS)} {draw.choice(_KINDS[category])} {number}"
    sizes = SIZES if "Shirt" in title or "Shorts" in title else ("M",)
    return Product(number, title, draw.choice(_BRANDS), category, draw.randrange(500, 20_000) / 100, sizes)


def shopify_products(shop: Shop) -> str:
    """Product export: a row a variant, then a row for a second picture."""
    header = [
        *("Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags", "Published"),
        *("Option1 Name", "Option1 Value", "Variant SKU", "Variant Inventory Tracker", "Variant Inventory Qty"),
        *("Variant Inventory Policy", "Variant Price", "Variant Compare At Price", "Image Src", "Status"),
    ]
    rows = []
    for product in shop.products:
        for position, size in enumerate(product.sizes):
            texts = [product.title, product.text, product.brand, product.category, "", "new, gift", "true", "Size"]
            first = texts if position == 0 else [""] * len(texts)
            stock = [product.sku(size), "shopify", "4", "deny", f"{product.price:.2f}", ""]
            picture = f"https://cdn.example.com/{product.number}.jpg" if position == 0 else ""
            rows.append([product.handle, *first, size, *stock, picture, "active" if position == 0 else ""])
        picture = f"https://cdn.example.com/{product.number}-b.jpg"
        rows.append([product.handle, *[""] * (len(header) - 3), picture, ""])
    return _csv(header, rows)


def shopify_orders(shop: Shop) -> str:
    """Order export: a row a line item, the order's fields on its first row."""
    header = [
        *("Name", "Email", "Financial Status", "Paid at", "Currency", "Total", "Created at", "Lineitem quantity"),
        *("Lineitem name", "Lineitem price", "Lineitem sku", "Billing Name", "Billing Phone", "Cancelled at"),
        *("Refunded Amount", "Id", "Lineitem discount"),
    ]
    rows = []
    for action in _purchases(shop):
        at = f"{action.at:%Y-%m-%d %H:%M:%S} +0000"
        product = action.product
        price = f"{product.price:.2f}"
        order = [f"#{1000 + action.number}", action.email, "paid", at, "EUR", price, at, "1"]
        line = [f"{product.title} - {action.size}", price, product.sku(action.size)]
        rows.append(
            [*order, *line, "Robin Sample", "+49 30 5550100", "", "0.00", str(5_000_000 + action.number), "0.00"]
        )
    return _csv(header, rows)


def google_feed(shop: Shop) -> str:
    """Merchant Center feed in RSS, an item a product, with bare ampersands as shops write them."""
    return "".join(google_feed_parts(shop.products))


def google_feed_parts(products: Sequence[Product]) -> Iterator[str]:
    """The feed piece by piece, for large ones."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>'
    yield "<title>Feed</title><link>https://shop.example.com</link>\n"
    for product in products:
        yield (
            f"<item><g:id>{product.sku('M')}</g:id><title>{product.title}</title>"
            f"<description><![CDATA[{product.text}]]></description><link>https://shop.example.com/p/{product.number}"
            f"?a=1&amp;b=2</link><g:image_link>https://cdn.example.com/{product.number}.jpg</g:image_link>"
            f"<g:brand>{product.brand}</g:brand><g:condition>new</g:condition><g:availability>in_stock</g:availability>"
            f"<g:price>{product.price:.2f} EUR</g:price><g:product_type>{escape(product.category)}</g:product_type>"
            f"<g:gtin>{4_000_000_000_000 + product.number}</g:gtin><g:shipping><g:country>DE</g:country>"
            "<g:price>4.90 EUR</g:price></g:shipping></item>\n"
        )
    yield "</channel></rss>\n"


def ga4_events(shop: Shop) -> str:
    """BigQuery export of GA4, JSON lines, with page views and scrolls between."""
    lines = []
    for action in shop.actions:
        name = "purchase" if action.kind == "purchase" else "view_item"
        lines.append(_ga4(action, "page_view", []))
        lines.append(_ga4(action, name, [_ga4_item(action)]))
        lines.append(_ga4(action, "scroll", []))
    return "\n".join(json.dumps(line) for line in lines) + "\n"


def _ga4(action: Action, name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    micros = str(int(action.at.timestamp() * 1e6))
    visitor = f"{1_000_000 + int(action.email.split('@')[0].removeprefix('shopper'))}.1700000000"
    session = {"key": "ga_session_id", "value": {"int_value": str(int(action.at.timestamp()) // 3600)}}
    return {
        "event_date": f"{action.at:%Y%m%d}",
        "event_timestamp": micros,
        "event_name": name,
        "event_params": [session],
        "event_bundle_sequence_id": str(action.number),
        "user_id": None,
        "user_pseudo_id": visitor,
        "stream_id": "123",
        "items": items,
    }


def _ga4_item(action: Action) -> dict[str, Any]:
    product = action.product
    return {
        "item_id": product.sku("M"),
        "item_name": product.title,
        "item_brand": product.brand,
        "item_category": product.category,
        "price": product.price,
        "quantity": "1",
    }


def woocommerce_products(shop: Shop) -> str:
    """Product export: variable products with their variations, simple ones alone."""
    header = [
        *("ID", "Type", "SKU", "Name", "Published", "Visibility in catalog", "Short description", "Description"),
        *("In stock?", "Sale price", "Regular price", "Categories", "Tags", "Parent", "Attribute 1 name"),
        *("Attribute 1 value(s)",),
    ]
    rows = []
    for product in shop.products:
        is_variable = len(product.sizes) > 1
        sku = f"P-{product.number:04}" if is_variable else product.sku(product.sizes[0])
        kind, price = ("variable", "") if is_variable else ("simple", f"{product.price:.2f}")
        texts = [product.title, "1", "visible", "", product.text, "1", "", price, product.category, "new"]
        rows.append([str(product.number), kind, sku, *texts, "", "Size", ", ".join(product.sizes)])
        for position, size in enumerate(product.sizes if is_variable else ()):
            number = str(100_000 + product.number * 10 + position)
            texts = [f"{product.title} - {size}", "1", "visible", "", "", "1", "", f"{product.price:.2f}", "", ""]
            rows.append([number, "variation", product.sku(size), *texts, sku, "Size", size])
    return _csv(header, rows)


def woocommerce_orders(shop: Shop) -> str:
    """Orders as the REST API lists them."""
    orders = []
    for action in _purchases(shop):
        product = action.product
        shopper = int(action.email.split("@")[0].removeprefix("shopper")) + 1
        line = {"id": action.number + 1, "name": product.title, "product_id": product.number, "variation_id": 0}
        line |= {
            "quantity": 1,
            "total": f"{product.price:.2f}",
            "price": product.price,
            "sku": product.sku(action.size),
        }
        order = {"id": 7_000 + action.number, "status": "completed", "currency": "EUR", "customer_id": shopper}
        order |= {
            "date_created": f"{action.at:%Y-%m-%dT%H:%M:%S}",
            "date_created_gmt": f"{action.at:%Y-%m-%dT%H:%M:%S}",
        }
        order |= {"billing": {"first_name": "Robin", "email": action.email, "phone": "+49 30 5550100"}}
        orders.append(order | {"line_items": [line], "refunds": []})
    return json.dumps(orders, indent=1)


def _purchases(shop: Shop) -> list[Action]:
    return [action for action in shop.actions if action.kind == "purchase"]


def _csv(header: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()
