"""The atlas of a release: its items, reviews, searches and queries of a person as points on one map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import polars as pl

from features.explore.atlas import KINDS, Atlas
from features.explore.clusters import cluster_table
from features.explore.showing import spelled
from features.item_map.layout import layout, place_among
from recsys.embedding_health import sampled_rows
from recsys.errors import QueryError
from recsys.interactions import positions
from recsys.item_groups import GROUPINGS, MAX_GROUPS, ORDERED, fewer, item_groups, legend_of

if TYPE_CHECKING:
    from features.explore.opened_release import OpenedRelease

SENTIMENT_BANDS: Final = ("negative", "mixed", "positive")
COLOURS: Final = (*GROUPINGS, "sentiment", "cluster", "kind")
SPACES: Final = {"text": "what is said of the items", "cf": "who dealt with the items", "fused": "text and behaviour"}


def draw_atlas(
    release: OpenedRelease,
    space: Literal["text", "cf", "fused"],
    colour: str,
    queries: Sequence[str],
    n_reviews: int,
    n_searches: int,
    cache: Path | None,
) -> Atlas:
    """The map of one space. colour: one of `COLOURS`; reviews take the colour of their item, or their own sentiment.

    Items, reviews and searches are laid out together; queries are placed among what they are nearest to. Reviews,
    searches and queries have vectors in the space "text" alone: QueryError elsewhere, and for another colour.
    """
    if colour not in COLOURS:
        raise QueryError(f"no colour {colour!r}; there are {', '.join(COLOURS)}")
    if space != "text" and (queries or n_reviews or n_searches):
        raise QueryError(f"reviews, searches and queries lie in the space 'text', not in {space!r}")
    parts, vectors = [_items(release, colour)], [np.asarray(release.vectors(space))]
    if n_reviews:
        table, own = _reviews(release, colour, n_reviews)
        parts.append(table)
        vectors.append(own)
    if n_searches:
        table, own = _searches(release, n_searches)
        parts.append(table)
        vectors.append(own)
    together = np.concatenate(vectors)
    places = layout(together, release.settings.seed, cache)
    if queries:
        own = release.encode(queries)
        parts.append(_points("query", list(queries), list(queries), [None] * len(queries)))
        places = np.concatenate([places, place_among(own, together, places)])
    points = pl.concat(parts).with_columns(x=pl.Series(places[:, 0]), y=pl.Series(places[:, 1]))
    points = points.filter(pl.col("x").is_finite() & pl.col("y").is_finite())
    found, clusters = cluster_table(points.select("x", "y").to_numpy(), points["words"].to_list())
    if colour == "cluster":
        named = dict(clusters.select("cluster", "words").iter_rows())
        groups = fewer([named[one] for one in found.tolist()], MAX_GROUPS)
        points = points.with_columns(group=pl.Series(groups, dtype=pl.String))
    if colour == "kind":
        points = points.with_columns(group="kind")
    n_items = points.filter(pl.col("kind") == "item").height
    title = f"{n_items:,} items by {SPACES[space]}, coloured by {colour}"
    legend = legend_of(points["group"].to_list(), KINDS if colour == "kind" else ORDERED.get(colour))
    return Atlas(title, points.drop("words"), clusters, legend)


def _items(release: OpenedRelease, colour: str) -> pl.DataFrame:
    properties, popularity = release.recommender.properties, release.recommender.model.popularity
    if colour == "sentiment":
        felt = release.items.select("sentiment").collect()["sentiment"].to_list() if _has_sentiment(release) else []
        groups = [_felt(one) for one in felt] or [None] * len(release.item_ids)
    else:
        groups = fewer(item_groups(release.recommender, colour), MAX_GROUPS) if colour in GROUPINGS else []
        groups = groups or [None] * len(release.item_ids)
    told = [
        _told([title or item_id, properties.category.name(row), _price(properties.price[row]), _had(popularity[row])])
        for row, (item_id, title) in enumerate(zip(release.item_ids, properties.titles, strict=True))
    ]
    words = [title or "" for title in properties.titles]
    return _points("item", release.item_ids, told, groups, words)


def _reviews(release: OpenedRelease, colour: str, most: int) -> tuple[pl.DataFrame, np.ndarray]:
    columns = ["review_id", "item_id", "rating", "text", "vector"] + ["sentiment"] * _has_sentiment(release, "reviews")
    table = release.reviews.select(columns).collect()
    table = table[sampled_rows(np.arange(len(table)), release.settings.seed, most)]
    vectors = np.ascontiguousarray(table["vector"].to_numpy(), dtype=np.float32)
    groups: list[str | None] = [None] * len(table)
    if colour == "sentiment" and "sentiment" in table.columns:
        groups = [_felt(one) for one in table["sentiment"]]
    elif colour in GROUPINGS:
        of_items = fewer(item_groups(release.recommender, colour), MAX_GROUPS)
        rows = positions(table["item_id"], release.recommender.model.item_ids)
        groups = [of_items[row] if row >= 0 else None for row in rows]
    told = [
        f"review of {item_id}, {stars:g} stars: {text or ''}"
        for item_id, stars, text in table.select("item_id", "rating", "text").iter_rows()
    ]
    return _points("review", table["review_id"].to_list(), told, groups), vectors


def _searches(release: OpenedRelease, most: int) -> tuple[pl.DataFrame, np.ndarray]:
    asked = (
        release.events.filter((pl.col("event_type") == "search") & pl.col("text").is_not_null())
        .group_by(text=pl.col("text").str.strip_chars())
        .len("n")
        .sort("n", "text", descending=[True, False])
        .head(most)
        .collect()
    )
    texts = asked["text"].to_list()
    told = [f"search: {text} ({n:,} times)" for text, n in asked.iter_rows()]
    return _points("search", texts, told, [None] * len(texts)), release.encode(texts)


def _points(
    kind: str, ids: Sequence[str], told: Sequence[str], groups: Sequence[str | None], words: Sequence[str] = ()
) -> pl.DataFrame:
    """kind, id, text, group, words of points; words: what names a cluster, by default nothing."""
    return pl.DataFrame(
        {"kind": [kind] * len(ids), "id": ids, "text": told, "group": groups, "words": words or [""] * len(ids)},
        schema=dict.fromkeys(("kind", "id", "text", "group", "words"), pl.String),
    )


def _has_sentiment(release: OpenedRelease, table: str = "items") -> bool:
    of = release.items if table == "items" else release.reviews
    return "sentiment" in of.collect_schema().names()


def _felt(sentiment: float | None) -> str | None:
    if sentiment is None:
        return None
    return SENTIMENT_BANDS[int(np.digitize(sentiment, [-0.2, 0.2]))]


def _told(parts: Sequence[str | None]) -> str:
    return " · ".join(part for part in parts if part)


def _had(popularity: float) -> str:
    return f"{int(popularity):,} shoppers"


def _price(price: float) -> str:
    return spelled(float(price)) if np.isfinite(price) else ""
