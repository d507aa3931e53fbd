"""Items in groups that a person asks for: category, brand, price band, popularity, newness, sentiment, cold or warm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from recsys.errors import QueryError
from recsys.fairness import bands, popularity_groups
from recsys.properties import Coded
from recsys.rank_features import ITEM_FEATURES
from recsys.recommend import Recommender

PRICE_BANDS: Final = ("cheapest quarter", "below the middle", "above the middle", "dearest quarter")
STAR_BANDS: Final = ("below 3 stars", "3 to 4 stars", "4 to 4.5 stars", "4.5 stars and more")
OTHER: Final = "others"
MAX_GROUPS: Final = 8
"""This many colours can be distinguished."""

ORDERED: Final[dict[str, tuple[str, ...]]] = {
    "price": PRICE_BANDS,
    "stars": STAR_BANDS,
    "popularity": ("new", "tail", "middle", "head"),
    "newness": ("no shopper yet", "in its first month", "in its first year", "older"),
    "sentiment": ("negative", "mixed", "positive"),
    "cold": ("cold", "warm"),
}
"""Groups that have an order, from low to high."""


def item_groups(recommender: Recommender, by: str) -> list[str | None]:
    """The group of each item, in the order of the model; None where nothing is known.

    Raises QueryError for another grouping than those of `GROUPINGS`.
    """
    if by not in GROUPINGS:
        raise QueryError(f"items have no groups by {by!r}; there are {', '.join(GROUPINGS)}")
    return GROUPINGS[by](recommender)


def fewer(groups: Sequence[str | None], most: int) -> list[str | None]:
    """The `most` - 1 most frequent groups, the rest as `OTHER`."""
    counted = Counter(group for group in groups if group is not None)
    if len(counted) <= most:
        return list(groups)
    frequent = {name for name, _ in sorted(counted.items(), key=lambda count: (-count[1], count[0]))[: most - 1]}
    return [group if group is None or group in frequent else OTHER for group in groups]


def legend_of(groups: Sequence[str | None], ordered: Sequence[str] | None = None) -> tuple[str, ...]:
    """The groups that there are: in the given order, else the most frequent first and `OTHER` last."""
    counted = Counter(group for group in groups if group is not None)
    if ordered is not None:
        return tuple(name for name in ordered if name in counted)
    return tuple(sorted(counted, key=lambda name: (name == OTHER, -counted[name], name)))


def top_categories(category: Coded) -> list[str | None]:
    """Of each item the first step of its path that tells the shop's items apart: some shops put their own name, or one
    department, in front of every path."""
    steps = [[step.strip() for step in name.split(">")] for name in category.names]
    level = 0
    while steps and all(len(path) > level + 1 for path in steps) and len({path[level] for path in steps}) == 1:
        level += 1
    names: list[str | None] = [path[min(level, len(path) - 1)] for path in steps]
    return [names[code] if code >= 0 else None for code in category.codes]


def _brands(recommender: Recommender) -> list[str | None]:
    brand = recommender.properties.brand
    return [brand.name(row) for row in range(recommender.n_items)]


def _stars(recommender: Recommender) -> list[str | None]:
    rating = recommender.properties.rating
    return [STAR_BANDS[int(np.digitize(value, [3, 4, 4.5]))] if np.isfinite(value) else None for value in rating]


def _newness(recommender: Recommender) -> list[str | None]:
    days = np.expm1(recommender.model.item_features[:, ITEM_FEATURES.index("first_days_ago")])
    named = ("in its first month", "in its first year", "older")
    return [named[int(np.digitize(value, [30, 365]))] if np.isfinite(value) else "no shopper yet" for value in days]


def _warmth(recommender: Recommender) -> list[str | None]:
    return ["cold" if count == 0 else "warm" for count in recommender.model.popularity]


GROUPINGS: Final[dict[str, Callable[[Recommender], list[str | None]]]] = {
    "category": lambda recommender: top_categories(recommender.properties.category),
    "brand": _brands,
    "price": lambda recommender: bands(recommender.properties.price, PRICE_BANDS),
    "popularity": lambda recommender: popularity_groups(recommender.model.popularity),
    "newness": _newness,
    "stars": _stars,
    "cold": _warmth,
}
