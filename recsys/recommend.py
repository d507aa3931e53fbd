"""From a query to a slate: the one path that evaluation, the command line and the service all call."""

from __future__ import annotations

import difflib
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys import config
from recsys.candidates import Shoppers
from recsys.errors import QueryError
from recsys.interactions import BOUGHT_TYPES, event_weights
from recsys.model import Model
from recsys.users import Users
from recsys.whitening import unit_rows

NEAREST_AMONG = 50


@dataclass(frozen=True)
class Signal:
    """One thing the shopper just did: dealt with an item, or searched for or read a text (norm-1 vector), or both."""

    event_type: str
    timestamp: datetime
    item_id: str | None = None
    text_vector: np.ndarray | None = None


@dataclass(frozen=True)
class Query:
    """Who asks and in what situation; every part is optional. `item_ids` are the items of the page or basket."""

    user_id: str | None = None
    session: tuple[Signal, ...] = ()
    item_ids: tuple[str, ...] = ()
    text_vector: np.ndarray | None = None
    count: int = 10
    exclude_ids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RankedItem:
    """One place of a slate; `rank` starts at 1, `source` names the evidence that counted most."""

    item_id: str
    score: float
    rank: int
    source: str
    title: str | None


@dataclass(frozen=True)
class Slate:
    """Best first. `fallback` is None, or a word on why the list is not personal."""

    items: tuple[RankedItem, ...]
    fallback: str | None


@dataclass(frozen=True)
class _Profile:
    """A query in matrix terms: history oldest first, texts as in `Shoppers`, and the rows that may not be shown."""

    item_rows: np.ndarray
    weights: np.ndarray
    browsing: np.ndarray
    sentence: np.ndarray
    asked: float
    hidden_rows: np.ndarray
    fallback: str | None


class Recommender:
    """A model with its shoppers, ready to answer. Immutable: a new release is a new Recommender."""

    def __init__(
        self,
        model: Model,
        users: Users,
        titles: Sequence[str | None],
        available: np.ndarray,
        settings: config.Recommend,
        weights: config.Interactions,
        browsing_decay: float = 0.8,
    ) -> None:
        """titles and available (bool) follow the order of `model.item_ids`."""
        self.model = model
        self.users = users
        self.titles = titles
        self.item_ids: list[str] = model.item_ids.to_list()
        self.rows = {item_id: row for row, item_id in enumerate(self.item_ids)}
        self.unavailable_rows = np.flatnonzero(~available)
        self.settings = settings
        self.event_weights = event_weights(weights)
        self.browsing_decay = browsing_decay
        self.sources = model.sources()
        self.vectors = model.item_vectors()
        self._full_weight = max(self.event_weights.values())

    @classmethod
    def of_release(cls, model: Model, users: Users, items: pl.DataFrame, settings: config.Settings) -> Recommender:
        """As the night measures it and the service loads it. items: title, available, ascending by item_id."""
        return cls(
            model,
            users,
            items["title"].to_list(),
            items["available"].to_numpy(),
            settings.recommend,
            settings.interactions,
            settings.embed.browsing_decay,
        )

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def recommend(self, queries: Sequence[Query]) -> list[Slate]:
        """One slate a query, of `count` items or of as many as may be shown."""
        profiles = [self._profile(query) for query in queries]
        contributions = self._contributions(self._shoppers(profiles))
        totals = contributions.sum(axis=0)
        return [
            self._slate(totals[row], contributions[:, row], profile.hidden_rows, query.count, profile.fallback)
            for row, (query, profile) in enumerate(zip(queries, profiles, strict=True))
        ]

    def similar(self, item_id: str, count: int, exclude_ids: frozenset[str] = frozenset()) -> Slate:
        """The nearest items in the fused space, text and behaviour together, whoever asks."""
        row = self.rows.get(item_id)
        if row is None:
            raise QueryError(
                f"item {item_id!r} is not in this release; nearest ids: {', '.join(self._nearest_ids(item_id))}"
            )
        scores = self.vectors @ self.vectors[row]
        hidden = np.concatenate([self.unavailable_rows, [row], self._known_rows(exclude_ids)])
        return self._slate(scores, scores[None, :], hidden, count, None, names=("similar",))

    def score(self, queries: Sequence[Query]) -> tuple[np.ndarray, np.ndarray]:
        """(n_sources, n, n_items) scores as the sources give them, and (n, n_items) bool: which may be shown."""
        profiles = [self._profile(query) for query in queries]
        allowed = np.ones((len(queries), self.n_items), dtype=bool)
        for row, profile in enumerate(profiles):
            allowed[row, profile.hidden_rows] = False
        return self._scores(self._shoppers(profiles)), allowed

    def shoppers(self, queries: Sequence[Query]) -> Shoppers:
        """The queries as the sources read them."""
        return self._shoppers([self._profile(query) for query in queries])

    def _contributions(self, shoppers: Shoppers) -> np.ndarray:
        """(n_sources, n, n_items) float32: what each source adds to the fused score."""
        return self.model.fusion.contributions(
            [source.name for source in self.sources],
            self._scores(shoppers),
            self.model.popularity,
            shoppers.asked,
        )

    def _scores(self, shoppers: Shoppers) -> np.ndarray:
        return np.stack([source.scores(shoppers) for source in self.sources])

    def _shoppers(self, profiles: Sequence[_Profile]) -> Shoppers:
        indptr = np.cumsum([0] + [len(profile.item_rows) for profile in profiles])
        history = sp.csr_matrix(
            (
                np.concatenate([profile.weights for profile in profiles]),
                np.concatenate([profile.item_rows for profile in profiles]),
                indptr,
            ),
            shape=(len(profiles), self.n_items),
        )
        return Shoppers(
            history,
            np.stack([profile.browsing for profile in profiles]),
            np.stack([profile.sentence for profile in profiles]),
            np.array([profile.asked for profile in profiles], dtype=np.float32),
        )

    def _sentence(self, query: Query, session: Sequence[Signal]) -> tuple[np.ndarray, float]:
        """What the shopper asks for now, and its weight: the request's own text, else the session's newest search or
        page text, which each later event of the session makes less of a wish."""
        if query.text_vector is not None:
            return query.text_vector, self.settings.sentence_weight
        for later, signal in enumerate(reversed(session)):
            if signal.text_vector is not None:
                return signal.text_vector, self.settings.sentence_weight * self.browsing_decay**later
        return np.zeros(self.model.text.shape[1], dtype=np.float32), 0.0

    def _profile(self, query: Query) -> _Profile:
        rows, weights, bought = self.users.history(query.user_id)
        session = sorted(query.session, key=lambda signal: signal.timestamp)
        rows, weights, bought = self._with_session(rows, weights, bought, session)
        page_rows = self._known_rows(query.item_ids)
        hidden = [self.unavailable_rows, page_rows, self._known_rows(query.exclude_ids)]
        if self.settings.exclude_seen:
            hidden.append(rows)
        elif self.settings.exclude_bought:
            hidden.append(rows[bought])
        liked = weights > 0
        item_rows, recency = self._weighed(rows[liked], weights[liked], page_rows)
        browsing = self._browsing(query.user_id, session)
        sentence, asked = self._sentence(query, session)
        told = len(item_rows) > 0 or browsing.any() or query.text_vector is not None
        fallback = None if told else self._fallback(query)
        return _Profile(item_rows, recency, browsing, sentence, asked, np.concatenate(hidden), fallback)

    def _with_session(
        self, rows: np.ndarray, weights: np.ndarray, bought: np.ndarray, session: Sequence[Signal]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The stored history followed by the session's items; an item in both moves to its newest place."""
        added: dict[int, tuple[float, bool]] = {}
        for signal in session:
            row = self.rows.get(signal.item_id, -1) if signal.item_id is not None else -1
            if row >= 0 and signal.event_type not in ("impression", "search"):
                weight, had = added.pop(row, (0.0, False))
                weight += self.event_weights[signal.event_type]
                added[row] = (weight, had or signal.event_type in BOUGHT_TYPES)
        if not added:
            return rows, weights, bought
        new_rows = np.fromiter(added, dtype=np.int32)
        again = np.isin(rows, new_rows)
        for row, weight, had in zip(rows[again], weights[again], bought[again], strict=True):
            added[row] = (added[row][0] + float(weight), added[row][1] or bool(had))
        return (
            np.concatenate([rows[~again], new_rows]),
            np.concatenate([weights[~again], np.array([w for w, _ in added.values()], dtype=np.float32)]),
            np.concatenate([bought[~again], np.array([had for _, had in added.values()])]),
        )

    def _weighed(self, rows: np.ndarray, weights: np.ndarray, page_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each item's weight after recency; the items of the page carry `item_page_share` of the whole."""
        age = np.arange(len(rows))[::-1]
        strength = np.sqrt(np.minimum(weights / self._full_weight, 1.0))
        recency = (self.model.fusion.position_decay**age * strength).astype(np.float32)
        if len(page_rows) == 0:
            return rows, recency
        elsewhere = ~np.isin(rows, page_rows)
        rows, recency = rows[elsewhere], recency[elsewhere]
        share = self.settings.item_page_share
        if recency.sum() > 0:
            recency = recency * ((1.0 - share) / share / recency.sum())
        page = np.full(len(page_rows), 1.0 / len(page_rows), dtype=np.float32)
        return np.concatenate([rows, page_rows]), np.concatenate([recency, page]).astype(np.float32)

    def _browsing(self, user_id: str | None, session: Sequence[Signal]) -> np.ndarray:
        """The session's texts, newest first, then the stored profile; each step back costs `browsing_decay`."""
        vectors = [signal.text_vector for signal in reversed(session) if signal.text_vector is not None]
        row = self.users.rows.get(user_id, -1) if user_id is not None else -1
        if row >= 0:
            vectors.append(self.users.browsing[row])
        total = np.zeros((1, self.model.text.shape[1]), dtype=np.float32)
        for age, vector in enumerate(vectors):
            total += self.browsing_decay**age * vector
        profile: np.ndarray = unit_rows(total)[0]
        return profile

    def _fallback(self, query: Query) -> str:
        if query.item_ids or query.session:
            return "unknown_items"
        return "no_history" if query.user_id in self.users.rows else "unknown_user"

    def _nearest_ids(self, item_id: str) -> list[str]:
        """Up to 3, among the ids beside it in their order: comparing with all would take the service a second."""
        place = bisect(self.item_ids, item_id)
        beside = self.item_ids[max(0, place - NEAREST_AMONG) : place + NEAREST_AMONG]
        return difflib.get_close_matches(item_id, beside, n=3, cutoff=0.0)

    def _known_rows(self, item_ids: Sequence[str] | frozenset[str]) -> np.ndarray:
        """Sorted, distinct."""
        rows = sorted({self.rows[item_id] for item_id in item_ids if item_id in self.rows})
        return np.array(rows, dtype=np.int64)

    def _slate(
        self,
        totals: np.ndarray,
        contributions: np.ndarray,
        hidden_rows: np.ndarray,
        count: int,
        fallback: str | None,
        names: Sequence[str] = (),
    ) -> Slate:
        names = names or [source.name for source in self.sources]
        totals = totals.copy()
        totals[hidden_rows] = -np.inf
        best = top_k(totals, count)
        speaks = (contributions != 0).any(
            axis=1
        )  # a source without evidence adds 0, which can exceed a weak item's score
        leading = np.where(speaks[:, None], contributions[:, best], -np.inf).argmax(axis=0)
        items = tuple(
            RankedItem(self.item_ids[row], round(float(totals[row]), 6), rank, names[source], self.titles[row])
            for rank, (row, source) in enumerate(zip(best, leading, strict=True), start=1)
        )
        return Slate(items, fallback)


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the `k` largest of (n_items,) scores, best first; ties keep the lower position; -inf never."""
    k = min(k, len(scores))
    if k == 0:
        return np.zeros(0, dtype=np.int64)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero((scores >= least) & (scores > -np.inf))
    order = np.argsort(-scores[candidates], kind="stable")
    best: np.ndarray = candidates[order[:k]]
    return best


BATCH_CELLS = 8_000_000
"""Many queries are scored in batches of about this many floats, so that memory does not grow with their number."""


def batches(n_queries: int, cells_per_query: int) -> Iterator[slice]:
    """Slices of the queries that are scored together."""
    size = max(1, BATCH_CELLS // max(cells_per_query, 1))
    for start in range(0, n_queries, size):
        yield slice(start, min(start + size, n_queries))
