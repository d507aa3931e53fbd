"""The names that shops and programs give to our columns, most telling first.

Names are compared by `plain_name`. A column is taken for one of ours by such a name only where its values fit
(`jobs/ingest/column_fit.py`). A parent's id comes before that of a variant: reviews and catalogue meet on it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

_PRODUCT: Final = (
    *("item_id", "product_id", "product_handle", "handle", "url handle", "parent_asin", "asin", "article_id"),
    *("goods_id", "offer_id", "content_id", "sku", "product_sku", "variant sku", "stock code", "product", "item"),
)

_SHOPPER: Final = (
    *("user_id", "customer_id", "shopper_id", "client_id", "visitor_id", "member_id", "account_id", "buyer_id"),
    *("user", "customer", "shopper", "uid", "household_id", "user_pseudo_id", "anonymous_id"),
    *("email", "customer_email", "user_email", "buyer_email"),
)

_TIME: Final = (
    "timestamp",
    "date_created_gmt",
    "created_at",
    "date_created",
    "created",
    "datetime",
    "date_time",
    "date",
)

ALIASES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "catalog": {
        "item_id": (
            *("item_id", "id", "product_id", "handle", "url handle", "sku", "parent_asin", "asin", "article_id"),
            *("goods_id", "offer_id", "content_id", "item", "product", "product_handle", "variant sku", "stock code"),
        ),
        "title": ("title", "name", "product_name", "product_title", "item_name", "item_title"),
        "description": (
            "description",
            "Body (HTML)",
            "body",
            "product_description",
            "long_description",
            "short_description",
        ),
        "category": (
            *("category", "categories", "product_category", "product_type", "google_product_category", "category_path"),
            *("main_category", "category_name", "genres", "department", "type"),
        ),
        "brand": ("brand", "brand_name", "vendor", "manufacturer", "store"),
        "price": ("price", "current_price", "regular_price", "variant price", "unit_price", "price_amount"),
        "available": (
            *("available", "availability", "is_available", "in stock?", "is_in_stock", "stock_status", "status"),
            *("published", "is_published", "is_active", "active", "enabled", "visible", "is_visible"),
            *("is_hidden", "hidden", "is_disabled", "disabled", "is_archived", "archived", "out_of_stock", "sold_out"),
            *("discontinued", "stock", "stock_quantity", "inventory_quantity"),
        ),
        "updated_at": ("updated_at", "last_modified", "date_modified", "modified_at", "last_updated", "updated"),
    },
    "events": {
        "event_id": ("event_id", "event_uuid", "message_id"),
        "user_id": _SHOPPER,
        "item_id": _PRODUCT,
        "event_type": (
            *("event_type", "event_name", "event", "action", "action_type", "interaction_type", "behavior_type"),
            *("behavior", "behaviour", "feedback_type", "activity", "type"),
        ),
        "timestamp": (
            *("timestamp", "event_timestamp", "event_time", "time", "ts", "server_time", "occurred_at"),
            *("purchase_date", "order_date", "invoice_date", "paid_at", *_TIME[1:], "event_date"),
        ),
        "session_id": ("session_id", "session", "ga_session_id", "visit_id", "basket_id", "cart_id"),
        "text": ("text", "search_term", "search_query", "query", "search", "keyword", "keywords"),
        "value": ("value", "event_value"),
        "recommendation_id": ("recommendation_id",),
        "position": ("position", "item_position", "item_list_index"),
    },
    "reviews": {
        "review_id": ("review_id", "id", "review_uuid"),
        "user_id": ("user_id", "reviewer_id", "reviewer_email", "reviewer.email", "author_email", *_SHOPPER[1:]),
        "item_id": ("item_id", "product_handle", "handle", *_PRODUCT[1:]),
        "rating": (
            "rating",
            "score",
            "stars",
            "overall",
            "review_score",
            "review_rating",
            "star_rating",
            "review_stars",
        ),
        "title": ("title", "review_title", "headline", "summary", "subject"),
        "text": (
            "text",
            "body",
            "review",
            "content",
            "review_content",
            "review_text",
            "review_body",
            "comment",
            "message",
        ),
        "timestamp": (
            "timestamp",
            "review_date",
            "submitted_at",
            "submission_time",
            *_TIME[1:],
            "time",
            "unixReviewTime",
        ),
    },
}
"""Table -> our column -> names, in order of preference. A sale price is no alias of the price, as it may be over. The
id of an order is none of a session. `price` and `amount` are no event's value, whose meaning depends on the event."""


def plain_name(name: str) -> str:
    """A column's name without case, accents, spaces, punctuation and a leading `g:`: `Body (HTML)` -> `bodyhtml`."""
    letters = unicodedata.normalize("NFKD", name.strip().casefold().removeprefix("g:"))
    return re.sub(r"[\W_]+", "", letters)


def aliases_of(table: str, column: str) -> tuple[str, ...]:
    """The plain names of a column of ours, its own name first."""
    return tuple(dict.fromkeys(plain_name(name) for name in (column, *ALIASES.get(table, {}).get(column, ()))))
