"""The points of a release's item map: items, reviews, searches and the caller's own queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import polars as pl

from features.explore.atlas import KINDS, Atlas
from features.explore.clusters import cluster_table
from features.explore.display import spelled
from features.item_map.layout import layout, place_among
from recsys import config
from recsys.embedding_health import sampled_rows
from recsys.errors import QueryError
from recsys.interactions import positions
from recsys.item_groups import GROUPINGS, MAX_GROUPS, ORDERED, fewer, item_groups, legend_of
from recsys.neighbours import Space
from recsys.recommend import Recommender

SENTIMENT_BANDS: Final = ("negative", "mixed", "positive")
COLOURS: Final = (*GROUPINGS, "sentiment", "cluster", "kind")
SPACES: Final = {"text": "text", "cf": "behaviour", "fused": "text and behaviour"}


class AtlasSource(Protocol):
    """What a map reads of a release; `features.explore.release.OpenedRelease` is one."""

    @property
    def recommender(self) -> Recommender: ...
    @property
    def settings(self) -> config.Settings: ...
    @property
    def items(self) -> pl.LazyFrame: ...
    @property
    def reviews(self) -> pl.LazyFrame: ...
    @property
    def events(self) -> pl.LazyFrame: ...
    def vectors(self, space: Space) -> np.ndarray: ...
    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


def draw_atlas(
    release: AtlasSource,
    space: Space,
    colour: str,
    queries: Sequence[str],
    n_reviews: int,
    n_searches: int,
    cache: Path | None,
) -> Atlas:
    """The map of one space, with up to `n_reviews` reviews and `n_searches` frequent searches.

    colour: one of `COLOURS`; reviews have the colour of their item, or of their own sentiment. Items, reviews and
    searches are laid out together; queries are placed among their nearest neighbours. Only the space "text" has vectors
    of reviews, searches and queries. cache: a folder for the layout; by default the user's cache.

    Raises QueryError for an unknown colour, and for reviews, searches or queries in another space.
    """
    if colour not in COLOURS:
        raise QueryError(f"no colour {colour!r}; there are {', '.join(COLOURS)}")
    if space != "text" and (queries or n_reviews or n_searches):
        raise QueryError(f"reviews, searches and queries have vectors in the space 'text' only, not in {space!r}")
    parts, vectors = [_items(release, colour)], [np.asarray(release.vectors(space))]
    if n_reviews:
        table, part_vectors = _reviews(release, colour, n_reviews)
        parts.append(table)
        vectors.append(part_vectors)
    if n_searches:
        table, part_vectors = _searches(release, n_searches)
        parts.append(table)
        vectors.append(part_vectors)
    together = np.concatenate(vectors)
    places = layout(together, release.settings.seed, cache)
    if queries:
        query_vectors = release.encode(queries)
        parts.append(_points("query", list(queries), list(queries), [None] * len(queries)))
        places = np.concatenate([places, place_among(query_vectors, together, places)])
    points = pl.concat(parts).with_columns(x=pl.Series(places[:, 0]), y=pl.Series(places[:, 1]))
    points = points.filter(pl.col("x").is_finite() & pl.col("y").is_finite())
    numbers, clusters = cluster_table(points.select("x", "y").to_numpy(), points["words"].to_list())
    if colour == "cluster":
        named = dict(clusters.select("cluster", "words").iter_rows())
        groups = fewer([named[number] for number in numbers.tolist()], MAX_GROUPS)
        points = points.with_columns(group=pl.Series(groups, dtype=pl.String))
    if colour == "kind":
        points = points.with_columns(group="kind")
    n_items = points.filter(pl.col("kind") == "item").height
    title = f"{n_items:,} items by {SPACES[space]}, coloured by {colour}"
    legend = legend_of(points["group"].to_list(), KINDS if colour == "kind" else ORDERED.get(colour))
    return Atlas(title, points.drop("words"), clusters, legend)


def _items(release: AtlasSource, colour: str) -> pl.DataFrame:
    properties, popularity = release.recommender.properties, release.recommender.model.popularity
    item_ids = release.recommender.item_ids
    if colour == "sentiment":
        scores = release.items.select("sentiment").collect()["sentiment"].to_list() if _has_sentiment(release) else []
        groups = [_sentiment_band(score) for score in scores] or [None] * len(item_ids)
    else:
        groups = fewer(item_groups(release.recommender, colour), MAX_GROUPS) if colour in GROUPINGS else []
        groups = groups or [None] * len(item_ids)
    texts = [
        _joined(
            [
                title or item_id,
                properties.category.name(row),
                _price(properties.price[row]),
                f"{int(popularity[row]):,} shoppers",
            ]
        )
        for row, (item_id, title) in enumerate(zip(item_ids, properties.titles, strict=True))
    ]
    words = [title or "" for title in properties.titles]
    return _points("item", item_ids, texts, groups, words)


def _reviews(release: AtlasSource, colour: str, most: int) -> tuple[pl.DataFrame, np.ndarray]:
    columns = ["review_id", "item_id", "rating", "text", "vector"] + ["sentiment"] * _has_sentiment(release, "reviews")
    table = release.reviews.select(columns).collect()
    table = table[sampled_rows(np.arange(len(table)), release.settings.seed, most)]
    vectors = np.ascontiguousarray(table["vector"].to_numpy(), dtype=np.float32)
    groups: list[str | None] = [None] * len(table)
    if colour == "sentiment" and "sentiment" in table.columns:
        groups = [_sentiment_band(score) for score in table["sentiment"]]
    elif colour in GROUPINGS:
        of_items = fewer(item_groups(release.recommender, colour), MAX_GROUPS)
        rows = positions(table["item_id"], release.recommender.model.item_ids)
        groups = [of_items[row] if row >= 0 else None for row in rows]
    texts = [
        f"review of {item_id}, {stars:g} stars: {text or ''}"
        for item_id, stars, text in table.select("item_id", "rating", "text").iter_rows()
    ]
    return _points("review", table["review_id"].to_list(), texts, groups), vectors


def _searches(release: AtlasSource, most: int) -> tuple[pl.DataFrame, np.ndarray]:
    searches = (
        release.events.filter((pl.col("event_type") == "search") & pl.col("text").is_not_null())
        .group_by(text=pl.col("text").str.strip_chars())
        .len("n")
        .sort("n", "text", descending=[True, False])
        .head(most)
        .collect()
    )
    texts = searches["text"].to_list()
    labels = [f"search: {text} ({n:,} times)" for text, n in searches.iter_rows()]
    return _points("search", texts, labels, [None] * len(texts)), release.encode(texts)


def _points(
    kind: str, ids: Sequence[str], texts: Sequence[str], groups: Sequence[str | None], words: Sequence[str] = ()
) -> pl.DataFrame:
    """kind, id, text, group, words of points; words: what clusters are named after, by default nothing."""
    return pl.DataFrame(
        {"kind": [kind] * len(ids), "id": ids, "text": texts, "group": groups, "words": words or [""] * len(ids)},
        schema=dict.fromkeys(("kind", "id", "text", "group", "words"), pl.String),
    )


def _has_sentiment(release: AtlasSource, table: str = "items") -> bool:
    of = release.items if table == "items" else release.reviews
    return "sentiment" in of.collect_schema().names()


def _sentiment_band(sentiment: float | None) -> str | None:
    if sentiment is None:
        return None
    return SENTIMENT_BANDS[int(np.digitize(sentiment, [-0.2, 0.2]))]


def _joined(parts: Sequence[str | None]) -> str:
    return " · ".join(part for part in parts if part)


def _price(price: float) -> str:
    return spelled(float(price)) if np.isfinite(price) else ""
