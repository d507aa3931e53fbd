"""From a query to a profile: which items and texts of a model count how much, and what may not be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np

from recsys import config
from recsys.event_weights import EventWeights, Pair
from recsys.model import Model
from recsys.result_cache import ResultCache, digest_of
from recsys.rules import PLAIN, Rules
from recsys.tables import EVENT_TYPES
from recsys.users import History, Users
from recsys.whitening import has_texts, unit_rows

DAY_US: Final = 86_400_000_000
RECENT_TEXTS: Final = 10_000
"""Of half a kilobyte each."""


@dataclass(frozen=True)
class Signal:
    """One thing the shopper just did: dealt with an item, or searched for or read a text (norm-1 vector), or both.
    `value` is the stars of a rating; `text` is what the vector was made of; only reasons quote it."""

    event_type: str
    timestamp: datetime
    item_id: str | None = None
    text_vector: np.ndarray | None = None
    value: float | None = None
    text: str | None = None


@dataclass(frozen=True)
class Query:
    """Who asks and in what situation; every part is optional. `item_ids` are the items of the page or basket;
    `asked_at` is the time of the request, by default that of the shopper's newest event;
    `text` is what `text_vector` was made of; `explain`: whether each item gets a reason;
    `search`: whether the words of `text` are also matched with titles, and items that were seen or bought are shown;
    `by_ranker`: whether the release's ranker, if it has one, reorders the best items."""

    user_id: str | None = None
    session: tuple[Signal, ...] = ()
    item_ids: tuple[str, ...] = ()
    text_vector: np.ndarray | None = None
    count: int = 10
    exclude_ids: frozenset[str] = frozenset()
    asked_at: datetime | None = None
    rules: Rules = PLAIN
    text: str | None = None
    explain: bool = False
    search: bool = False
    by_ranker: bool = True


@dataclass(frozen=True)
class Profile:
    """A query in matrix terms. history: item rows and their weights after recency; read: the entries of what the
    sequence model reads, whose text rows point into `read_texts` (k, dim), placed; bought: item rows and how much they
    call for being bought again; browsing, sentence, asked: as in `Shoppers`; by_history: whether it is what the
    ranker has learned from, a history with neither a page nor a text of the request beside it; hidden_rows may not be
    shown; seen_rows, some of these, may be where nothing else is left."""

    history: tuple[np.ndarray, np.ndarray]
    read: History
    read_texts: np.ndarray
    bought: tuple[np.ndarray, np.ndarray]
    browsing: np.ndarray
    query_text: np.ndarray
    text_weight: float
    by_history: bool
    hidden_rows: np.ndarray
    seen_rows: np.ndarray
    fallback: str | None


class QueryReader:
    """Reads queries against a model and its shoppers; the same query gives the same profile."""

    def __init__(
        self,
        model: Model,
        users: Users,
        unavailable_rows: np.ndarray,
        settings: config.RecommendSettings,
        weights: config.InteractionsSettings,
        browsing_decay: float,
    ) -> None:
        self.model = model
        self.users = users
        self.rows: Mapping[str, int] = {item_id: row for row, item_id in enumerate(model.item_ids.to_list())}
        self.unavailable_rows = unavailable_rows
        self.settings = settings
        self.browsing_decay = browsing_decay
        self._weights = EventWeights(weights)
        self.reads_texts = has_texts(model.text)
        """Whether the model knows items by their texts; else texts of a query are matched by words alone."""
        self._full_weight = max(self._weights.by_type.values())
        self._placed_texts = model.sequence.place(model.whitening(users.texts))
        self._recent_placed: ResultCache[np.ndarray] = ResultCache(RECENT_TEXTS)

    def _query_text(self, query: Query, session: Sequence[Signal]) -> tuple[np.ndarray, float]:
        """The vector of the current text, and its weight: of the request's text, else of the session's newest search or
        page text, whose weight is learned and decays with each later event of the session."""
        if query.text_vector is not None:
            return query.text_vector, self.settings.query_text_weight
        for later, signal in enumerate(reversed(session)):
            if signal.text_vector is not None:
                weight = self.settings.query_text_weight * self.model.fusion.session_text
                return signal.text_vector, weight * self.browsing_decay**later
        return np.zeros(self.model.text.shape[1], dtype=np.float32), 0.0

    def profile(self, query: Query) -> Profile:
        """The shopper's history with the session, the page and the request's own words."""
        has_text = query.text_vector is not None
        if not self.reads_texts:
            query = _without_vectors(query)
        session = sorted(query.session, key=lambda signal: signal.timestamp)
        entries, session_texts = self._with_session(self.users.history(query.user_id), session)
        page_rows = self.known_rows(query.item_ids)
        items = entries.take(entries.item_rows >= 0)
        asked_at_us = self._asked_at_us(query, entries)
        age_days = (asked_at_us - items.timestamps) / DAY_US
        is_liked = items.weights > 0
        returning = self.model.repeats.may_return(items.n_bought, age_days) & is_liked
        is_bought = (items.n_bought > 0) & ~returning
        is_seen = (items.n_bought == 0) & self.settings.exclude_seen & (not query.search)
        bought_rows = items.item_rows[is_bought & (not query.search)]
        hidden = [self.unavailable_rows, page_rows, self.known_rows(query.exclude_ids), bought_rows]
        seen_rows = items.item_rows[is_seen]
        strength = self.model.repeats.strength(items.n_bought[returning], age_days[returning])
        history = self._weighed(items.item_rows[is_liked], items.weights[is_liked], page_rows)
        read, read_texts = self._read(entries, session_texts, query.text_vector, page_rows, asked_at_us)
        browsing = self._browsing(query.user_id, session)
        query_text, text_weight = self._query_text(query, session)
        is_known = len(history[0]) > 0 or browsing.any() or has_text
        return Profile(
            history=history,
            read=read,
            read_texts=read_texts,
            bought=(items.item_rows[returning], strength),
            browsing=browsing,
            query_text=query_text,
            text_weight=text_weight,
            by_history=len(history[0]) > 0 and not has_text and len(page_rows) == 0,
            hidden_rows=np.concatenate([*hidden, seen_rows]),
            seen_rows=seen_rows[~np.isin(seen_rows, np.concatenate(hidden))] if len(seen_rows) else seen_rows,
            fallback=None if is_known else self._fallback(query),
        )

    def _asked_at_us(self, query: Query, entries: History) -> int:
        if query.asked_at is not None:
            return int(query.asked_at.timestamp() * 1_000_000)
        return int(entries.timestamps.max(initial=0))

    def _with_session(self, stored: History, session: Sequence[Signal]) -> tuple[History, list[np.ndarray]]:
        """The stored history with the events of the session, oldest first, and the vectors of the session's texts.

        Text rows from `len(users.texts)` on point to these. An item of both moves to the time of its newest event;
        events of the same time keep the order of the session.
        """
        texts: list[np.ndarray] = []
        entries: list[_Entry] = []
        pairs: dict[int, _Entry] = {}
        for signal in session:
            row = self.rows.get(signal.item_id, -1) if signal.item_id is not None else -1
            at_us, code = int(signal.timestamp.timestamp() * 1_000_000), EVENT_TYPES.index(signal.event_type)
            if row >= 0 and self._weights.counts(signal.event_type):
                before = pairs.get(row) or _stored_entry(stored, row)
                pair = self._weights.after(before.pair, signal.event_type, signal.value)
                pairs[row] = _Entry(row, -1, max(at_us, before.timestamp), pair)
                entries = [entry for entry in entries if entry.item_row != row]
                entries.append(pairs[row])
            if signal.text_vector is not None:
                entries.append(_Entry(-1, len(self.users.texts) + len(texts), at_us, Pair(event_type=code)))
                texts.append(signal.text_vector)
        if not entries:
            return stored, texts
        if len(stored) == 0:
            return _in_time(_history(entries)), texts
        stays = ~np.isin(stored.item_rows, list(pairs))
        return _in_time(stored.take(stays).followed_by(_history(entries))), texts

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
        view, search = Pair(1.0, EVENT_TYPES.index("view")), Pair(event_type=EVENT_TYPES.index("search"))
        last = [_Entry(int(row), -1, asked_at_us, view) for row in page_rows]
        if sentence is not None:
            last.append(_Entry(-1, len(self.users.texts) + len(texts), asked_at_us, search))
            texts.append(sentence)
        is_read = (entries.weights > 0) | (entries.text_rows >= 0)
        if len(page_rows):
            is_read &= ~np.isin(entries.item_rows, page_rows)
        n_read = self.model.sequence.network.shape.max_length
        entries_read = entries.take(np.flatnonzero(is_read)[-n_read:])
        if last:
            entries_read = entries_read.followed_by(_history(last)).take(slice(-n_read, None))
        is_text = entries_read.text_rows >= 0
        if not is_text.any():
            return entries_read, np.zeros((0, self._placed_texts.shape[1]), dtype=np.float32)
        rows, n_stored = entries_read.text_rows[is_text], len(self._placed_texts)
        is_new = rows >= n_stored
        placed = np.empty((len(rows), self._placed_texts.shape[1]), dtype=np.float32)
        placed[~is_new] = self._placed_texts[rows[~is_new]]
        if is_new.any():
            placed[is_new] = self._placed(np.stack(texts))[rows[is_new] - n_stored]
        local = np.where(is_text, np.cumsum(is_text) - 1, -1)
        return replace(entries_read, text_rows=local.astype(np.int32)), placed

    def _placed(self, texts: np.ndarray) -> np.ndarray:
        """(k, dim) where the sequence model places texts, (k, text dim); cached, as the same texts come again."""
        return self._recent_placed.of(digest_of(texts), lambda: self.model.sequence.place(self.model.whitening(texts)))

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
        stored: np.ndarray = self.users.browsing[row] if row >= 0 else np.zeros(self.model.text.shape[1], np.float32)
        if not vectors:
            return stored
        vectors.append(stored)
        total = np.zeros((1, self.model.text.shape[1]), dtype=np.float32)
        for age, vector in enumerate(vectors):
            total += self.browsing_decay**age * vector
        profile: np.ndarray = unit_rows(total)[0]
        return profile

    def _fallback(self, query: Query) -> str:
        if query.item_ids or query.session:
            return "unknown_items"
        return "no_history" if query.user_id in self.users.rows else "unknown_user"

    def known_rows(self, item_ids: Sequence[str] | frozenset[str]) -> np.ndarray:
        """Rows of the ids that the model knows, ascending and distinct."""
        rows = sorted({self.rows[item_id] for item_id in item_ids if item_id in self.rows})
        return np.array(rows, dtype=np.int64)


def _without_vectors(query: Query) -> Query:
    """The query without the vectors of texts, and without what the session has beside items."""
    session = tuple(replace(signal, text_vector=None) for signal in query.session if signal.item_id is not None)
    return replace(query, session=session, text_vector=None)


class _Entry(NamedTuple):
    """One entry of a `History`; timestamp: microseconds."""

    item_row: int
    text_row: int
    timestamp: int
    pair: Pair


def _stored_entry(stored: History, row: int) -> _Entry:
    """The item's entry in the stored history, an empty one where it has none."""
    places = np.flatnonzero(stored.item_rows == row)
    if len(places) == 0:
        return _Entry(row, -1, 0, Pair())
    place = places[0]
    pair = Pair(float(stored.weights[place]), int(stored.event_types[place]), int(stored.n_bought[place]))
    return _Entry(row, -1, int(stored.timestamps[place]), pair)


def _history(entries: Sequence[_Entry]) -> History:
    return History(
        np.array([entry.item_row for entry in entries], dtype=np.int32),
        np.array([entry.text_row for entry in entries], dtype=np.int32),
        np.array([entry.pair.weight for entry in entries], dtype=np.float32),
        np.array([entry.timestamp for entry in entries], dtype=np.int64),
        np.array([entry.pair.event_type for entry in entries], dtype=np.int8),
        np.array([entry.pair.n_bought for entry in entries], dtype=np.int32),
    )


def _in_time(entries: History) -> History:
    """Oldest first: an event can reach the event log after the release was made and be older than what it holds."""
    if np.all(entries.timestamps[1:] >= entries.timestamps[:-1]):
        return entries
    return entries.take(np.argsort(entries.timestamps, kind="stable"))
