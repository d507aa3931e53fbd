"""Free words for what shoppers do, as recommender and analytics systems have them, and our event types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jobs.ingest.column_aliases import plain_name
from jobs.ingest.sources.spec import SourceOptions

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "impression": ("impression", "impress", "show", "shown", "exposure", "listview", "ranking"),
    "view": (
        *("view", "views", "read", "watch", "play", "listen", "detailpageview", "productview", "viewitem", "pageview"),
        *("productdetailview", "visit", "open", "viewed"),
    ),
    "click": ("click", "clicks", "clicked", "tap", "select", "selectitem", "share", "listclick"),
    "cart": (
        *("cart", "carts", "addtocart", "addcart", "basket", "addtobasket", "cartaddition", "bookmark", "wishlist"),
        *("addtowishlist", "fav", "favorite", "favourite", "save"),
    ),
    "purchase": ("purchase", "purchases", "purchased", "order", "orders", "buy", "bought", "transaction", "checkout"),
    "rating": ("rating", "rate", "rated", "star", "stars", "like", "love", "dislike", "thumbsup", "thumbsdown"),
    "return": ("return", "returned", "refund", "refunded"),
    "search": ("search", "searched", "query"),
}
_TYPES: Final = {word: event_type for event_type, words in _WORDS.items() for word in words}

STARS_WITHOUT_VALUE: Final[Mapping[str, int]] = {
    **dict.fromkeys(("star", "stars", "like", "love", "thumbsup"), 5),
    **dict.fromkeys(("dislike", "thumbsdown"), 1),
}
"""Words of a rating that is given without a number."""


def event_type_of(word: str, options: SourceOptions) -> str | None:
    """Our event type for a word in any spelling; `--value` comes first. None: unknown, or mapped to nothing."""
    mapped = options.mapped("events.event_type", word)
    return (mapped or None) if mapped is not None else _TYPES.get(plain_name(word))
