"""From a query to a slate: evaluation, the command line and the service all use this one path.

Functions for many queries at once, for training, evaluation and exploration, are in `recsys/batch_scoring.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from recsys import config
from recsys.errors import UnknownItemError
from recsys.explain import ExplanationData, explanations
from recsys.filters import Filter, matching
from recsys.fusion import QUERY_TEXT, Fused
from recsys.model import Model
from recsys.nearest_ids import nearest_ids
from recsys.new_items import n_slots, with_new_items
from recsys.properties import Properties
from recsys.query import Profile, Query, QueryReader
from recsys.rank_features import ITEM_FEATURES
from recsys.ranking import Proposals, Ranker, feature_names, propose
from recsys.rerank import NEW, PINNED, SEEN, Limit, Placement, arrange, boosted, fill_up, with_pins
from recsys.result_cache import ResultCache, digest_of
from recsys.rules import LIMITS, PLAIN, SEEN_ITEMS, Rules
from recsys.scorer import Scorer
from recsys.slate import RankedItem, Slate
from recsys.top_k import top_k
from recsys.users import Users

log = logging.getLogger(__name__)

TITLE: Final = "title"
"""The `source` of an item that a search found by the words of its title."""

NO_ROWS: Final = np.zeros(0, dtype=np.int64)

_Placed = tuple[int, Placement | None]
"""A row, and why it has its place; None: by its score."""


class Recommender:
    """A model with its users, ready to make lists. Immutable: a new release is a new Recommender.

    Several threads may use it at once. Scores, ranker orders and filter masks of recent queries are cached.
    """

    def __init__(
        self,
        model: Model,
        users: Users,
        properties: Properties,
        settings: config.RecommendSettings,
        new_items: config.NewItemsSettings,
        weights: config.InteractionsSettings,
        browsing_decay: float = 0.8,
        ranker_pool: int = 100,
        facts: ExplanationData | None = None,
    ) -> None:
        """properties: in the order of `model.item_ids`; facts: the data of explanations, by default none."""
        self.model = model
        self.users = users
        self.properties = properties
        self.facts = facts or ExplanationData.none(len(model.item_ids))
        self.item_ids: list[str] = model.item_ids.to_list()
        self.unavailable_rows = np.flatnonzero(~properties.available)
        self.new_item_share = new_items.share
        self.title_weight = settings.title_weight
        self.scorer = Scorer(model)
        self.sources = self.scorer.sources
        self.source_names = [*(source.name for source in self.sources), TITLE]
        self.vectors = model.sequence.item_vectors
        self.ranker_pool = ranker_pool
        self.ranker = self._fitting_ranker()
        self._ranker_reads_sentences = self.ranker is not None and self.ranker.reads(QUERY_TEXT)
        self.reader = QueryReader(model, users, self.unavailable_rows, settings, weights, browsing_decay)
        self._ranked_totals: ResultCache[np.ndarray] = ResultCache(self.scorer.cache_size)
        self._filter_masks: ResultCache[np.ndarray] = ResultCache(self.scorer.cache_size)
        self.rows = self.reader.rows
        is_new = (model.popularity <= new_items.max_shoppers) & self.vectors.any(axis=1)
        is_new &= properties.available
        self.new_rows = np.flatnonzero(is_new)

    @classmethod
    def of_release(
        cls,
        model: Model,
        users: Users,
        items: pl.DataFrame,
        settings: config.Settings,
        facts: ExplanationData | None = None,
    ) -> Recommender:
        """The recommender of a release, as the nightly run evaluates it and the service loads it.

        items: as in `Properties.of_table`, ascending by item_id.
        """
        return cls.of_parts(model, users, Properties.of_table(items), settings, facts)

    @classmethod
    def of_parts(
        cls,
        model: Model,
        users: Users,
        properties: Properties,
        settings: config.Settings,
        facts: ExplanationData | None = None,
    ) -> Recommender:
        """As `of_release`, for properties that are already read."""
        return cls(
            model,
            users,
            properties,
            settings.recommend,
            settings.new_items,
            settings.interactions,
            settings.embed.browsing_decay,
            settings.ranking.pool,
            facts,
        )

    def recommend(self, queries: Sequence[Query]) -> list[Slate]:
        """One slate for each query, of `count` items or of as many as may be shown.

        Scores are cached where there is one query. Memory grows with the number of queries: pass many in batches
        (`recsys.batch_scoring.slates`).
        """
        profiles = [self.profile(query) for query in queries]
        scored = zip(queries, profiles, self.scorer.keyed(profiles), strict=True)
        return [self._slate(query, profile, key, fused) for query, profile, (key, fused) in scored]

    def similar(self, item_id: str, count: int, exclude_ids: frozenset[str] = frozenset()) -> Slate:
        """The nearest items in the fused space, which combines text and behaviour; the same for every shopper.

        Raises UnknownItemError for an item that is not in the release.
        """
        row = self.row_of(item_id)
        scores = self.vectors @ self.vectors[row]
        hidden = np.concatenate([self.unavailable_rows, [row], self.known_rows(exclude_ids)])
        return Slate(self.listed(scores, hidden, count, "similar"), None)

    def listed(self, scores: np.ndarray, hidden_rows: np.ndarray, count: int, name: str) -> tuple[RankedItem, ...]:
        """The best `count` items by (n_items,) scores, the same for every shopper; name: becomes their `source`."""
        shown = scores.copy()
        shown[hidden_rows] = -np.inf
        placed: list[_Placed] = [(row, None) for row in top_k(shown, count).tolist()]
        return self._items(placed, scores, [name] * len(placed))

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of `Proposals.features`."""
        return feature_names([source.name for source in self.sources], ITEM_FEATURES)

    def row_of(self, item_id: str) -> int:
        """Raises UnknownItemError, naming the nearest ids, for an item that the release does not know."""
        row = self.rows.get(item_id)
        if row is None:
            nearest = ", ".join(nearest_ids(item_id, self.item_ids))
            raise UnknownItemError(f"item {item_id!r} is not in this release; nearest ids: {nearest}")
        return row

    def known_rows(self, item_ids: Sequence[str] | frozenset[str]) -> np.ndarray:
        """Rows of the ids that the release knows, ascending and distinct."""
        return self.reader.known_rows(item_ids)

    def matching(self, condition: Filter) -> np.ndarray:
        """(n_items,) bool: which items fulfil the filter. The array is shared: do not change it."""
        key = repr(condition)  # the values 1 and True are equal in Python, but not in a catalogue
        return self._filter_masks.of(key, lambda: matching(condition, self.properties))

    def profile(self, query: Query) -> Profile:
        """The query in terms of the model. What its filter leaves out is among `hidden_rows`, and then no row is in
        there twice."""
        profile = self.reader.profile(query)
        if query.rules.filter is None:
            return profile
        hidden = ~self.matching(query.rules.filter)
        seen_rows = profile.seen_rows[~hidden[profile.seen_rows]]
        hidden[profile.hidden_rows] = True
        return replace(profile, hidden_rows=np.flatnonzero(hidden), seen_rows=seen_rows)

    def is_ranked(self, query: Query) -> bool:
        """Whether the ranker orders the best items of this query's list; else the weighted sum orders all of it."""
        return self._is_ranked(query, self.profile(query))

    def is_scored(self, query: Query) -> bool:
        """Whether the scores of this query are cached, and the ranker's order where the ranker orders its list. The
        words of a search do not count: titles are searched each time."""
        profile = self.profile(query)
        key, fused = self.scorer.cached(profile)
        if fused is None:
            return False
        return not self._is_ranked(query, profile) or self._ranked_totals.find(_ranked_key(key, profile)) is not None

    def propose(self, fused: Fused, profile: Profile) -> Proposals:
        """The items that the ranker is given to order, with their features."""
        return propose(fused.standard, profile.hidden_rows, self.model.item_features, self.ranker_pool)

    def _slate(self, query: Query, profile: Profile, key: Hashable, fused: Fused) -> Slate:
        if query.search or (query.text and not self.reader.reads_texts):
            # Not cached: the key stands for the scores without those of the titles.
            key, fused = None, fused.with_source(self._title_scores(query.text or "", fused))
        totals = self._ranked(key, fused, query, profile)
        totals = self._boosted(totals, profile.hidden_rows, query.rules)
        placed = self._placed(totals, profile.hidden_rows, query)
        n_matched = None if query.rules.filter is None else self.n_items - len(profile.hidden_rows)
        relaxed: tuple[str, ...] = ()
        if len(placed) < query.count:
            placed, relaxed = self._filled_up(placed, totals, profile, query)
        if n_matched is not None and SEEN_ITEMS in relaxed:
            n_matched += len(profile.seen_rows)
        items = self._items(placed, totals, self._leading(fused, placed))
        if query.explain:
            items = self._explained(items, query, profile, placed, fused)
        return Slate(items, profile.fallback, n_matched, relaxed)

    def _title_scores(self, text: str, fused: Fused) -> np.ndarray:
        """(n_items,) what title words add in a search: `title_weight` for the best match, proportionally less for
        others. Without text vectors the words alone say what was searched for: then any match comes before what only
        suits the shopper, and a match of half the words after that of all."""
        scores = self.properties.words.scores(text)
        weight = self.title_weight
        if not self.reader.reads_texts:
            spread = max(float(np.ptp(fused.totals)), 1.0) if len(scores) else 1.0
            weight = 2.0 * spread
        added: np.ndarray = weight / max(float(scores.max(initial=0.0)), 1e-9) * scores
        return added if self.reader.reads_texts else added + spread * (scores > 0)

    def _fitting_ranker(self) -> Ranker | None:
        """The model's ranker, or None where it was trained on other sources: a shop may begin to repeat its purchases
        between the days that the ranker was trained on and those of the model."""
        ranker = self.model.ranker
        if ranker is not None and list(ranker.names) != self.feature_names:
            log.warning("ranker left out reads=%d there_are=%d", len(ranker.names), len(self.feature_names))
            return None
        return ranker

    def _ranked(self, key: Hashable, fused: Fused, query: Query, profile: Profile) -> np.ndarray:
        """(n_items,) the weighted sum, with the items that the ranker orders above all others.

        key: of `fused`; with None nothing is cached. The ranker was trained on histories and visits. The weighted sum
        alone orders lists for an item page, for a text of the request and for an unknown shopper, and for a text of
        the session where the ranker's training data had none.
        """
        ranker = self.ranker
        if ranker is None or not self._is_ranked(query, profile):
            return fused.totals

        def ranked() -> np.ndarray:
            proposals = self.propose(fused, profile)
            margins = ranker.scores(proposals.features)
            totals = fused.totals.copy()
            totals[proposals.item_rows] = margins - margins.min(initial=0.0) + totals.max() + 1.0
            return totals

        return ranked() if key is None else self._ranked_totals.of(_ranked_key(key, profile), ranked)

    def _is_ranked(self, query: Query, profile: Profile) -> bool:
        is_as_trained = profile.by_history and (profile.text_weight == 0 or self._ranker_reads_sentences)
        return self.ranker is not None and query.by_ranker and is_as_trained

    def _boosted(self, totals: np.ndarray, hidden_rows: np.ndarray, rules: Rules) -> np.ndarray:
        if not rules.boosts:
            return totals
        return boosted(totals, hidden_rows, [(self.matching(boost.filter), boost.factor) for boost in rules.boosts])

    def _placed(self, totals: np.ndarray, hidden_rows: np.ndarray, query: Query) -> list[_Placed]:
        """The list, in its order."""
        rules, count = query.rules, query.count
        share = self.new_item_share if rules.new_items is None else rules.new_items
        shown = totals.copy()
        shown[hidden_rows] = -np.inf
        new_ranked = self._new_ranked(shown, count) if n_slots(count, share) else NO_ROWS
        if rules == PLAIN:
            plain = with_new_items(top_k(shown, count), new_ranked, count, share)
            return [(row, NEW if is_new else None) for row, is_new in plain]
        limits = self._limits(rules)
        pinned = self._pinned(query)
        return list(arrange(shown, new_ranked, pinned, limits, self.vectors, rules.diversity, count, share))

    def _filled_up(
        self, placed: list[_Placed], totals: np.ndarray, profile: Profile, query: Query
    ) -> tuple[list[_Placed], tuple[str, ...]]:
        """A short list, filled by score with items that its rules left out, and the rules that gave way: first those
        of diversity, then that seen items are left out."""
        rules, limits = query.rules, self._limits(query.rules)
        allowed = totals.copy()
        allowed[profile.hidden_rows] = -np.inf
        filled: list[_Placed] = [
            (row, None) for row in fill_up(_rows(placed), allowed, limits, rules.relaxable, query.count)
        ]
        if SEEN_ITEMS in rules.relaxable and len(profile.seen_rows):
            allowed[profile.seen_rows] = totals[profile.seen_rows]
            rows = fill_up(_rows([*placed, *filled]), allowed, limits, rules.relaxable, query.count)
            filled += [(row, SEEN) for row in rows]
        if not filled:
            return placed, ()
        pinned = {place: (row, PINNED) for place, row in self._pinned(query).items() if place < query.count}
        by_score = [each for each in placed if each[1] != PINNED]
        placed = with_pins([*by_score, *filled], pinned, query.count)
        relaxed = [limit.name for limit in limits if limit.is_exceeded(_rows(placed))]
        return placed, (*relaxed, SEEN_ITEMS) if any(slot == SEEN for _, slot in placed) else tuple(relaxed)

    def _limits(self, rules: Rules) -> list[Limit]:
        most = (rules.max_per_category, rules.max_per_brand, int(rules.collapse_variants))
        codes = (self.properties.category.codes, self.properties.brand.codes, self.properties.variants)
        return [Limit(*each) for each in zip(LIMITS, codes, most, strict=True) if each[2] > 0]

    def _pinned(self, query: Query) -> dict[int, int]:
        """Rows by 0-based place. A pin ignores filters and limits, but never shows an item that is unknown, unavailable
        or excluded by id. Of two pins of one item or one place the first counts."""
        pinned: dict[int, int] = {}
        for pin in query.rules.pins:
            row = self.rows.get(pin.item_id, -1)
            showable = row >= 0 and self.properties.available[row] and pin.item_id not in query.exclude_ids
            if showable and row not in pinned.values():
                pinned.setdefault(pin.position - 1, row)
        return pinned

    def _new_ranked(self, totals: np.ndarray, count: int) -> np.ndarray:
        """At most `count` rows of new items that may be shown, the most promising first."""
        return self.new_rows[top_k(totals[self.new_rows] + self.model.promise[self.new_rows], count)]

    def _leading(self, fused: Fused, placed: Sequence[_Placed]) -> list[str]:
        """The source that added most to each place."""
        added = fused.added(np.array([row for row, _ in placed], dtype=np.int64))
        # A source without evidence adds 0, which can exceed a weak item's score.
        added[~fused.speaks] = -np.inf
        return [self.source_names[source] for source in added.argmax(axis=0)]

    def _items(self, placed: Sequence[_Placed], totals: np.ndarray, sources: Sequence[str]) -> tuple[RankedItem, ...]:
        return tuple(
            RankedItem(
                item_id=self.item_ids[row],
                score=round(float(totals[row]), 6),
                rank=rank,
                source=placement or source,
                title=self.properties.titles[row],
            )
            for rank, ((row, placement), source) in enumerate(zip(placed, sources, strict=True), start=1)
        )

    def _explained(
        self,
        items: tuple[RankedItem, ...],
        query: Query,
        profile: Profile,
        placed: Sequence[_Placed],
        fused: Fused,
    ) -> tuple[RankedItem, ...]:
        each = explanations(query, profile, placed, fused, self.source_names, self.model, self.properties, self.facts)
        return tuple(replace(item, explanation=explanation) for item, explanation in zip(items, each, strict=True))


def _rows(placed: Sequence[_Placed]) -> list[int]:
    return [row for row, _ in placed]


def _ranked_key(key: Hashable, profile: Profile) -> Hashable:
    """Of the ranker's order of the scores under `key`, which hangs on what may be shown."""
    return key, digest_of(profile.hidden_rows)
