"""Many queries at once, for training, evaluation and exploration: their scores, proposals and slates.

A single request of the service goes through `Recommender.recommend`, which caches what it scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from recsys.candidates import Shoppers
from recsys.fusion import Fused
from recsys.query import Query
from recsys.ranking import Proposals
from recsys.recommend import Recommender
from recsys.slate import Slate

BATCH_CELLS: Final = 8_000_000
"""Many queries are scored in batches of about this many floats, so that memory does not grow with their number."""


def batches(n_queries: int, cells_per_query: int) -> Iterator[slice]:
    """Slices of the queries that are scored together."""
    size = max(1, BATCH_CELLS // max(cells_per_query, 1))
    for start in range(0, n_queries, size):
        yield slice(start, min(start + size, n_queries))


def query_batches(recommender: Recommender, n_queries: int) -> Iterator[slice]:
    """`batches` of queries to this recommender, which needs a float for each source and item."""
    return batches(n_queries, recommender.n_items * len(recommender.sources))


def slates(recommender: Recommender, queries: Sequence[Query]) -> Iterator[Slate]:
    """`Recommender.recommend` for any number of queries, made in batches."""
    for batch in query_batches(recommender, len(queries)):
        yield from recommender.recommend(queries[batch])


def shown_rows(recommender: Recommender, queries: Sequence[Query], count: int) -> np.ndarray:
    """(n, count) int64 items of each query's slate, which has at most `count`, padded with -1."""
    shown = np.full((len(queries), count), -1, dtype=np.int64)
    for place, slate in enumerate(slates(recommender, queries)):
        rows = [recommender.rows[item.item_id] for item in slate.items]
        shown[place, : len(rows)] = rows
    return shown


def shoppers(recommender: Recommender, queries: Sequence[Query]) -> Shoppers:
    """The queries as the sources read them; filters of the queries do not count."""
    return recommender.scorer.shoppers([recommender.reader.profile(query) for query in queries])


def source_scores(recommender: Recommender, queries: Sequence[Query]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n_sources, n, n_items) scores as the sources give them; (n, n_items) bool: which items may be shown; (n,) the
    weight of the source "sentence". Filters of the queries do not count."""
    profiles = [recommender.reader.profile(query) for query in queries]
    allowed = np.ones((len(queries), recommender.n_items), dtype=bool)
    for row, profile in enumerate(profiles):
        allowed[row, profile.hidden_rows] = False
    read = recommender.scorer.shoppers(profiles)
    return recommender.scorer.scores(read), allowed, read.text_weight


def fused_scores(recommender: Recommender, queries: Sequence[Query]) -> list[Fused]:
    """The scores of every item for each query, hidden items included, before the ranker and the query's rules."""
    profiles = [recommender.reader.profile(query) for query in queries]
    return [fused for _, fused in recommender.scorer.keyed(profiles)]


def ranker_proposals(recommender: Recommender, queries: Sequence[Query]) -> list[tuple[Proposals, np.ndarray]]:
    """What the ranker is given to order for each query, and the weighted sum of the same items."""
    profiles = [recommender.reader.profile(query) for query in queries]
    scored = [fused for _, fused in recommender.scorer.keyed(profiles)]
    proposed = [recommender.propose(fused, profile) for fused, profile in zip(scored, profiles, strict=True)]
    return [(each, fused.totals[each.item_rows]) for each, fused in zip(proposed, scored, strict=True)]
