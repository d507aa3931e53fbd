"""Words for what shoppers do, as shops, analytics and recommender systems write them, and our event types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from recsys.tables import EVENT_TYPES

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "impression": ("impression", "impress", "show", "shown", "exposure", "listview", "ranking", "viewitemlist"),
    "view": (
        *("view", "views", "read", "watch", "play", "listen", "detailpageview", "productview", "viewitem", "pageview"),
        *("productdetailview", "visit", "open", "viewed", "viewcontent", "productviewed"),
    ),
    "click": ("click", "clicks", "clicked", "tap", "select", "selectitem", "share", "listclick", "productclicked"),
    "cart": (
        *("cart", "carts", "addtocart", "addcart", "basket", "addtobasket", "cartaddition", "bookmark", "wishlist"),
        *("addtowishlist", "fav", "favorite", "favourite", "save", "productadded"),
    ),
    "purchase": (
        *("purchase", "purchases", "purchased", "order", "orders", "buy", "bought", "transaction", "checkout"),
        *("ordercompleted",),
    ),
    "rating": ("rating", "rate", "rated", "star", "stars", "like", "love", "dislike", "thumbsup", "thumbsdown"),
    "return": ("return", "returned", "refund", "refunded", "orderrefunded"),
    "search": ("search", "searched", "query", "productssearched", "viewsearchresults"),
}
EVENT_WORDS: Final = {word: event_type for event_type, words in _WORDS.items() for word in words}
"""Word in lower case, without spaces, hyphens and underscores -> event type."""

KNOWN: Final = ", ".join(EVENT_TYPES)


def event_type_of(word: str) -> str | None:
    """The event type of a word in any spelling (`addToCart`, `add_to_cart`); None where it is not known."""
    return EVENT_WORDS.get(re.sub(r"[\W_]+", "", word.lower()))
