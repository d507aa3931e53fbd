"""From a query to a slate: the one path that evaluation, the command line and the service all call."""

from __future__ import annotations

import difflib
import logging
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys import config
from recsys.candidates import Shoppers
from recsys.errors import QueryError
from recsys.fusion import SENTENCE, z_scores
from recsys.interactions import HAD_TYPES, event_weights
from recsys.model import Model
from recsys.new_items import n_slots, with_new_items
from recsys.rank_features import ITEM_FEATURES
from recsys.ranking import Proposals, Ranker, feature_names, propose
from recsys.sequence.histories import Sequences
from recsys.tables import EVENT_TYPES
from recsys.users import History, Users
from recsys.whitening import unit_rows

log = logging.getLogger(__name__)

NEAREST_AMONG = 50
DAY_US: Final = 86_400_000_000
NO_ROWS: Final = np.zeros(0, dtype=np.int64)
NEW: Final = "new"
"""The `source` of an item in a place that is kept for new items."""


@dataclass(frozen=True)
class Signal:
    """One thing the shopper just did: dealt with an item, or searched for or read a text (norm-1 vector), or both."""

    event_type: str
    timestamp: datetime
    item_id: str | None = None
    text_vector: np.ndarray | None = None


@dataclass(frozen=True)
class Query:
    """Who asks and in what situation; every part is optional. `item_ids` are the items of the page or basket;
    `asked_at` tells how long ago things were bought, by default at the shopper's newest event."""

    user_id: str | None = None
    session: tuple[Signal, ...] = ()
    item_ids: tuple[str, ...] = ()
    text_vector: np.ndarray | None = None
    count: int = 10
    exclude_ids: frozenset[str] = frozenset()
    asked_at: datetime | None = None


@dataclass(frozen=True)
class RankedItem:
    """One place of a slate; `rank` starts at 1, `source` names the evidence that counted most, or is "new" in a place
    that is kept for new items."""

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
    """A query in matrix terms. history: item rows and their weights after recency; read: the entries of what the
    sequence model reads, whose text rows point into `read_texts` (k, dim), placed; bought: item rows and how much they
    call for being bought again; browsing, sentence, asked: as in `Shoppers`; on_page: whether there are items of a
    page; hidden_rows may not be shown."""

    history: tuple[np.ndarray, np.ndarray]
    read: History
    read_texts: np.ndarray
    bought: tuple[np.ndarray, np.ndarray]
    browsing: np.ndarray
    sentence: np.ndarray
    asked: float
    on_page: bool
    hidden_rows: np.ndarray
    fallback: str | None

    @property
    def by_history(self) -> bool:
        """Whether it is what the ranker has learned from: a history, and no page or sentence beside it."""
        return len(self.history[0]) > 0 and self.asked == 0 and not self.on_page


class Recommender:
    """A model with its shoppers, ready to answer. Immutable: a new release is a new Recommender."""

    def __init__(
        self,
        model: Model,
        users: Users,
        titles: Sequence[str | None],
        available: np.ndarray,
        settings: config.Recommend,
        new_items: config.NewItems,
        weights: config.Interactions,
        browsing_decay: float = 0.8,
        ranker_pool: int = 100,
    ) -> None:
        """titles and available (bool) follow the order of `model.item_ids`."""
        self.model = model
        self.users = users
        self.titles = titles
        self.item_ids: list[str] = model.item_ids.to_list()
        self.rows = {item_id: row for row, item_id in enumerate(self.item_ids)}
        self.unavailable_rows = np.flatnonzero(~available)
        self.settings = settings
        self.new_item_share = new_items.share
        self.event_weights = event_weights(weights)
        self.browsing_decay = browsing_decay
        self.sources = model.sources()
        self.vectors = model.sequence.item_vectors
        self.ranker_pool = ranker_pool
        self._learned = [place for place, source in enumerate(self.sources) if source.name != SENTENCE]
        self.ranker = self._fitting_ranker()
        self.texts = model.sequence.place(model.whitening(users.texts))
        is_new = (model.popularity <= new_items.max_shoppers) & self.vectors.any(axis=1) & available
        self.new_rows = np.flatnonzero(is_new)
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
            settings.new_items,
            settings.interactions,
            settings.embed.browsing_decay,
            settings.ranking.pool,
        )

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def batches(self, n_queries: int) -> Iterator[slice]:
        """Slices of the queries that are asked together, so that memory does not grow with their number."""
        return batches(n_queries, self.n_items * len(self.sources))

    def recommend(self, queries: Sequence[Query]) -> list[Slate]:
        """One slate a query, of `count` items or of as many as may be shown."""
        profiles = [self._profile(query) for query in queries]
        standard, contributions = self._contributions(self._shoppers(profiles))
        return [
            self._slate(
                self._ranked(contributions[:, row].sum(axis=0), standard[:, row], profile),
                contributions[:, row],
                profile.hidden_rows,
                query.count,
                profile.fallback,
                self.new_item_share,
            )
            for row, (query, profile) in enumerate(zip(queries, profiles, strict=True))
        ]

    def proposals(self, queries: Sequence[Query]) -> list[tuple[Proposals, np.ndarray]]:
        """What the ranker is given for each query, and the weighted sum of the same items."""
        profiles = [self._profile(query) for query in queries]
        standard, contributions = self._contributions(self._shoppers(profiles))
        found = [self._propose(standard[:, row], profile) for row, profile in enumerate(profiles)]
        return [(one, contributions[:, row, one.item_rows].sum(axis=0)) for row, one in enumerate(found)]

    @property
    def feature_names(self) -> list[str]:
        """Of the columns of `Proposals.features`."""
        return feature_names([self.sources[place].name for place in self._learned], ITEM_FEATURES)

    def _fitting_ranker(self) -> Ranker | None:
        """The model's, unless it has learned from other sources: a shop may begin to repeat its purchases between the
        days that the ranker has learned from and those of the model."""
        ranker = self.model.ranker
        if ranker is not None and list(ranker.names) != self.feature_names:
            log.warning("ranker left out reads=%d there_are=%d", len(ranker.names), len(self.feature_names))
            return None
        return ranker

    def _propose(self, standard: np.ndarray, profile: _Profile) -> Proposals:
        return propose(standard[self._learned], profile.hidden_rows, self.model.item_features, self.ranker_pool)

    def _ranked(self, totals: np.ndarray, standard: np.ndarray, profile: _Profile) -> np.ndarray:
        """The weighted sum, with what the ranker orders anew above all else.

        It has learned from histories alone: a page, a sentence and a stranger are left to the weighted sum.
        """
        if self.ranker is None or not profile.by_history:
            return totals
        proposals = self._propose(standard, profile)
        margins = self.ranker.scores(proposals.features)
        ranked = totals.copy()
        ranked[proposals.item_rows] = margins - margins.min(initial=0.0) + totals.max() + 1.0
        return ranked

    def similar(self, item_id: str, count: int, exclude_ids: frozenset[str] = frozenset()) -> Slate:
        """The nearest items in the fused space, text and behaviour together, whoever asks."""
        row = self.rows.get(item_id)
        if row is None:
            raise QueryError(
                f"item {item_id!r} is not in this release; nearest ids: {', '.join(self._nearest_ids(item_id))}"
            )
        scores = self.vectors @ self.vectors[row]
        hidden = np.concatenate([self.unavailable_rows, [row], self._known_rows(exclude_ids)])
        return self._slate(scores, scores[None, :], hidden, count, None, 0.0, names=("similar",))

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

    def _contributions(self, shoppers: Shoppers) -> tuple[np.ndarray, np.ndarray]:
        """(n_sources, n, n_items) float32 twice: z-scores of the sources, and what each adds to the fused score."""
        standard = z_scores(self._scores(shoppers))
        names = [source.name for source in self.sources]
        return standard, self.model.fusion.contributions(names, standard, self.model.popularity, shoppers.asked)

    def _scores(self, shoppers: Shoppers) -> np.ndarray:
        return np.stack([source.scores(shoppers) for source in self.sources])

    def _shoppers(self, profiles: Sequence[_Profile]) -> Shoppers:
        return Shoppers(
            history=self._matrix([profile.history for profile in profiles]),
            wanted=self._wanted(profiles),
            bought=self._matrix([profile.bought for profile in profiles]),
            browsing=np.stack([profile.browsing for profile in profiles]),
            sentence=np.stack([profile.sentence for profile in profiles]),
            asked=np.array([profile.asked for profile in profiles], dtype=np.float32),
        )

    def _matrix(self, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> sp.csr_matrix:
        """(n, n_items) of each query's item rows and values."""
        indptr = np.cumsum([0] + [len(item_rows) for item_rows, _ in rows])
        columns, values = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return sp.csr_matrix((values, columns, indptr), shape=(len(rows), self.n_items))

    def _wanted(self, profiles: Sequence[_Profile]) -> np.ndarray:
        """(n, dim) query vectors of the sequence model."""
        reads = [profile.read for profile in profiles]
        n_texts = np.cumsum([0] + [len(profile.read_texts) for profile in profiles])
        text_rows = [
            np.where(read.text_rows >= 0, read.text_rows + n, -1) for read, n in zip(reads, n_texts, strict=False)
        ]
        sequences = Sequences(
            np.cumsum([0] + [len(read) for read in reads]),
            np.concatenate([read.item_rows for read in reads]),
            np.concatenate([read.event_types for read in reads]),
            np.concatenate([read.timestamps for read in reads]),
            np.concatenate(text_rows),
        )
        return self.model.sequence.read(sequences, np.concatenate([profile.read_texts for profile in profiles]))

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
        session = sorted(query.session, key=lambda signal: signal.timestamp)
        entries, session_texts = self._with_session(self.users.history(query.user_id), session)
        page_rows = self._known_rows(query.item_ids)
        items = entries.take(entries.item_rows >= 0)
        asked_at_us = self._asked_at_us(query, entries)
        age_days = (asked_at_us - items.timestamps) / DAY_US
        returning = self.model.repeats.may_return(items.n_bought, age_days) & (items.weights > 0)
        gone = (items.n_bought > 0) & ~returning
        seen = (items.n_bought == 0) & self.settings.exclude_seen
        hidden = [self.unavailable_rows, page_rows, self._known_rows(query.exclude_ids), items.item_rows[gone | seen]]
        strength = self.model.repeats.strength(items.n_bought[returning], age_days[returning])
        liked = items.take(items.weights > 0)
        history = self._weighed(liked.item_rows, liked.weights, page_rows)
        read, read_texts = self._read(entries, session_texts, query.text_vector, page_rows, asked_at_us)
        browsing = self._browsing(query.user_id, session)
        sentence, asked = self._sentence(query, session)
        told = len(history[0]) > 0 or browsing.any() or query.text_vector is not None
        return _Profile(
            history=history,
            read=read,
            read_texts=read_texts,
            bought=(items.item_rows[returning], strength),
            browsing=browsing,
            sentence=sentence,
            asked=asked,
            on_page=len(page_rows) > 0,
            hidden_rows=np.concatenate(hidden),
            fallback=None if told else self._fallback(query),
        )

    def _asked_at_us(self, query: Query, entries: History) -> int:
        if query.asked_at is not None:
            return int(query.asked_at.timestamp() * 1_000_000)
        return int(entries.timestamps.max(initial=0))

    def _with_session(self, stored: History, session: Sequence[Signal]) -> tuple[History, list[np.ndarray]]:
        """The stored history followed by the session, and the vectors of the session's texts, which text rows from
        `len(users.texts)` on point to. An item in both moves to its newest place."""
        texts: list[np.ndarray] = []
        added: list[_Entry] = []
        for signal in session:
            row = self.rows.get(signal.item_id, -1) if signal.item_id is not None else -1
            at, code = int(signal.timestamp.timestamp() * 1_000_000), EVENT_TYPES.index(signal.event_type)
            if row >= 0 and signal.event_type not in ("impression", "search"):
                before = next((entry for entry in added if entry.item_row == row), _Entry(row))
                added = [entry for entry in added if entry is not before]
                weight = before.weight + self.event_weights[signal.event_type]
                n_bought = before.n_bought + (signal.event_type == "purchase")
                n_bought = max(n_bought, int(signal.event_type in HAD_TYPES))
                added.append(_Entry(row, -1, weight, at, max(before.event_type, code), n_bought))
            if signal.text_vector is not None:
                added.append(_Entry(-1, len(self.users.texts) + len(texts), 0.0, at, code, 0))
                texts.append(signal.text_vector)
        if not added:
            return stored, texts
        new = _history(added)
        again = np.isin(stored.item_rows, new.item_rows) & (stored.item_rows >= 0)
        for place in np.flatnonzero(again):
            to = np.flatnonzero(new.item_rows == stored.item_rows[place])
            new.weights[to] += stored.weights[place]
            new.n_bought[to] += stored.n_bought[place]
            new.event_types[to] = np.maximum(new.event_types[to], stored.event_types[place])
        return stored.take(~again).followed_by(new), texts

    def _read(
        self,
        entries: History,
        session_texts: list[np.ndarray],
        sentence: np.ndarray | None,
        page_rows: np.ndarray,
        asked_at_us: int,
    ) -> tuple[History, np.ndarray]:
        """What the sequence model reads: liked items and texts, the page's items, the request's own sentence; the
        newest that it has room for. With the placed vectors (k, dim) that its text rows point into."""
        texts = [*session_texts]
        view, search = EVENT_TYPES.index("view"), EVENT_TYPES.index("search")
        last = [_Entry(int(row), -1, 1.0, asked_at_us, view, 0) for row in page_rows]
        if sentence is not None:
            last.append(_Entry(-1, len(self.users.texts) + len(texts), 0.0, asked_at_us, search, 0))
            texts.append(sentence)
        kept = entries.take(((entries.weights > 0) | (entries.text_rows >= 0)) & ~np.isin(entries.item_rows, page_rows))
        if last:
            kept = kept.followed_by(_history(last))
        kept = kept.take(slice(max(0, len(kept) - self.model.sequence.network.shape.max_length), None))
        is_text = kept.text_rows >= 0
        if not is_text.any():
            return kept, np.zeros((0, self.vectors.shape[1]), dtype=np.float32)
        rows, n_stored = kept.text_rows[is_text], len(self.texts)
        placed = self.texts[rows[rows < n_stored]]  # stored texts are older than those of the session
        if texts:
            new = self.model.sequence.place(self.model.whitening(np.stack(texts)))
            placed = np.concatenate([placed, new[rows[rows >= n_stored] - n_stored]])
        local = np.where(is_text, np.cumsum(is_text) - 1, -1)
        return replace(kept, text_rows=local.astype(np.int32)), placed

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
        new_item_share: float,
        names: Sequence[str] = (),
    ) -> Slate:
        names = names or [source.name for source in self.sources]
        totals = totals.copy()
        totals[hidden_rows] = -np.inf
        new_ranked = self._new_ranked(totals, count) if n_slots(count, new_item_share) else NO_ROWS
        placed = list(with_new_items(top_k(totals, count), new_ranked, count, new_item_share))
        rows = np.array([row for row, _ in placed], dtype=np.int64)
        # A source without evidence adds 0, which can exceed a weak item's score.
        speaks = (contributions != 0).any(axis=1)
        leading = np.where(speaks[:, None], contributions[:, rows], -np.inf).argmax(axis=0)
        items = tuple(
            RankedItem(
                item_id=self.item_ids[row],
                score=round(float(totals[row]), 6),
                rank=rank,
                source=NEW if kept else names[source],
                title=self.titles[row],
            )
            for rank, ((row, kept), source) in enumerate(zip(placed, leading, strict=True), start=1)
        )
        return Slate(items, fallback)

    def _new_ranked(self, totals: np.ndarray, count: int) -> np.ndarray:
        """At most `count` rows of new items that may be shown, the most promising first."""
        return self.new_rows[top_k(totals[self.new_rows] + self.model.promise[self.new_rows], count)]


class _Entry(NamedTuple):
    """One entry of a `History`."""

    item_row: int
    text_row: int = -1
    weight: float = 0.0
    timestamp: int = 0
    event_type: int = 0
    n_bought: int = 0


def _history(entries: Sequence[_Entry]) -> History:
    item_rows, text_rows, weights, timestamps, event_types, n_bought = zip(*entries, strict=True)
    return History(
        np.array(item_rows, dtype=np.int32),
        np.array(text_rows, dtype=np.int32),
        np.array(weights, dtype=np.float32),
        np.array(timestamps, dtype=np.int64),
        np.array(event_types, dtype=np.int8),
        np.array(n_bought, dtype=np.int32),
    )


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
