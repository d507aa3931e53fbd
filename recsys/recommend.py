"""From a query to a slate: the one path that evaluation, the command line and the service all call."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from recsys import config
from recsys.candidates import Shoppers
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
from recsys.rerank import NEW, Kept, Limit, arrange, boosted
from recsys.result_cache import ResultCache, digest_of
from recsys.rules import PLAIN, Rules
from recsys.scorer import Scorer
from recsys.slate import RankedItem, Slate
from recsys.top_k import top_k
from recsys.users import Users

log = logging.getLogger(__name__)

AT_ONCE_ITEMS: Final = 50_000
"""Beyond so many items finding the best of them takes long, ..."""

AT_ONCE_ENTRIES: Final = 300
"""... and so does reading a request of more items and events than these."""

SMALL_CATALOGUE: Final = 20_000
"""So many items are scored by every source in a few milliseconds."""

TITLE: Final = "title"
"""The `source` of an item that a search found by the words of its title."""
NO_ROWS: Final = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class PreparedList:
    """A list under way: the query as it was read, with the key of its scores. is_quick: the rest takes a few
    milliseconds at most, as the catalogue is small, or as what sources and ranker say of this shopper is kept."""

    query: Query
    profile: Profile
    key: Hashable
    is_quick: bool


class Recommender:
    """A model with its shoppers, ready to answer. Immutable: a new release is a new Recommender."""

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
        """properties follow the order of `model.item_ids`; facts: what reasons are made of, by default nothing."""
        self.model = model
        self.users = users
        self.properties = properties
        self.facts = facts or ExplanationData.none(len(model.item_ids))
        self.item_ids: list[str] = model.item_ids.to_list()
        self.unavailable_rows = np.flatnonzero(~properties.available)
        self.new_item_share = new_items.share
        self.title_weight = settings.title_weight
        self._scorer = Scorer(model)
        self.sources = self._scorer.sources
        self.source_names = [*(source.name for source in self.sources), TITLE]
        self.vectors = model.sequence.item_vectors
        self.ranker_pool = ranker_pool
        self.ranker = self._fitting_ranker()
        self._ranker_reads_sentences = self.ranker is not None and self.ranker.reads(QUERY_TEXT)
        self._reader = QueryReader(model, users, self.unavailable_rows, settings, weights, browsing_decay)
        self._recent_ranked: ResultCache[np.ndarray] = ResultCache(self._scorer.n_kept)
        self._recent_matches: ResultCache[np.ndarray] = ResultCache(self._scorer.n_kept)
        self.rows = self._reader.rows
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
        """As the night measures it and the service loads it. items: as `Properties.of_table`, ascending by item_id."""
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
        """The same, of properties that are there already."""
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

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def batches(self, n_queries: int) -> Iterator[slice]:
        """Slices of the queries that are asked together, so that memory does not grow with their number."""
        return batches(n_queries, self.n_items * len(self.sources))

    def slates(self, queries: Sequence[Query]) -> Iterator[Slate]:
        """`recommend` of any number of queries, asked in `batches`."""
        for batch in self.batches(len(queries)):
            yield from self.recommend(queries[batch])

    def shown_rows(self, queries: Sequence[Query], count: int) -> np.ndarray:
        """(n, count) items of each query's slate, of `count` at most, padded with -1."""
        shown = np.full((len(queries), count), -1, dtype=np.int64)
        for place, slate in enumerate(self.slates(queries)):
            rows = [self.rows[item.item_id] for item in slate.items]
            shown[place, : len(rows)] = rows
        return shown

    def recommend(self, queries: Sequence[Query]) -> list[Slate]:
        """One slate a query, of `count` items or of as many as may be shown."""
        profiles = [self._profile(query) for query in queries]
        keyed = zip(queries, profiles, self._scorer.keyed(profiles), strict=True)
        return [self._slate(query, profile, key, fused) for query, profile, (key, fused) in keyed]

    def begin(self, query: Query) -> PreparedList | None:
        """The query's list begun, which takes a fraction of a millisecond; None where it could take longer: the rest of
        such a request, or a catalogue so large, is not plain."""
        n_entries = query.count + len(query.exclude_ids) + len(query.session)
        if query.explain or query.search or query.rules != PLAIN:
            return None
        if self.n_items > AT_ONCE_ITEMS or n_entries > AT_ONCE_ENTRIES:
            return None
        profile = self._profile(query)
        key, fused = self._scorer.kept(profile)
        is_kept = fused is not None
        if is_kept and self._is_ranked(query, profile):
            is_kept = self._recent_ranked.find(_ranked_key(key, profile)) is not None
        return PreparedList(query, profile, key, is_quick=is_kept or self.n_items <= SMALL_CATALOGUE)

    def finish(self, begun: PreparedList) -> Slate:
        """As `recommend` of its query."""
        return self._slate(begun.query, begun.profile, begun.key, self._scorer.of_key(begun.key, begun.profile))

    def _slate(self, query: Query, profile: Profile, key: Hashable, fused: Fused) -> Slate:
        if query.search:
            # Of these scores nothing is kept: the key is of the others.
            key, fused = None, fused.with_source(self._title_scores(query.text or ""))
        totals = self._ranked(key, fused, query, profile)
        totals = self._boosted(totals, profile.hidden_rows, query.rules)
        placed = self._placed(totals, profile.hidden_rows, query)
        n_matched = None if query.rules.filter is None else self.n_items - len(profile.hidden_rows)
        items = self._items(placed, totals, self._leading(fused, placed))
        if query.explain:
            items = self._explained(items, query, profile, placed, fused)
        return Slate(items, profile.fallback, n_matched)

    def _title_scores(self, text: str) -> np.ndarray:
        """(n_items,) what the words of titles add to a search: `title_weight` to the best match, others in share."""
        scores = self.properties.words.scores(text)
        added: np.ndarray = self.title_weight / max(float(scores.max(initial=0.0)), 1e-9) * scores
        return added

    def _profile(self, query: Query) -> Profile:
        """The query's profile; what its filter leaves out may not be shown, and then no hidden row comes twice."""
        profile = self._reader.profile(query)
        if query.rules.filter is None:
            return profile
        hidden = ~self.matching(query.rules.filter)
        hidden[profile.hidden_rows] = True
        return replace(profile, hidden_rows=np.flatnonzero(hidden))

    def matching(self, wanted: Filter) -> np.ndarray:
        """(n_items,) bool: which items fulfil the filter; shared, nobody changes it."""
        key = repr(wanted)  # the values 1 and True are equal in Python, and not in a catalogue
        return self._recent_matches.of(key, lambda: matching(wanted, self.properties))

    def proposals(self, queries: Sequence[Query]) -> list[tuple[Proposals, np.ndarray]]:
        """What the ranker is given for each query, and the weighted sum of the same items."""
        profiles = [self._reader.profile(query) for query in queries]
        told = [fused for _, fused in self._scorer.keyed(profiles)]
        found = [self._propose(fused, profile) for fused, profile in zip(told, profiles, strict=True)]
        return [(one, fused.totals[one.item_rows]) for one, fused in zip(found, told, strict=True)]

    @property
    def feature_names(self) -> list[str]:
        """Of the columns of `Proposals.features`."""
        return feature_names([source.name for source in self.sources], ITEM_FEATURES)

    def _fitting_ranker(self) -> Ranker | None:
        """The model's, unless it has learned from other sources: a shop may begin to repeat its purchases between the
        days that the ranker has learned from and those of the model."""
        ranker = self.model.ranker
        if ranker is not None and list(ranker.names) != self.feature_names:
            log.warning("ranker left out reads=%d there_are=%d", len(ranker.names), len(self.feature_names))
            return None
        return ranker

    def _propose(self, fused: Fused, profile: Profile) -> Proposals:
        return propose(fused.standard, profile.hidden_rows, self.model.item_features, self.ranker_pool)

    def _ranked(self, key: Hashable, fused: Fused, query: Query, profile: Profile) -> np.ndarray:
        """The weighted sum, with what the ranker orders anew above all else. key: of `fused`, None where it has none.

        It has learned from histories and visits: a page, the request's own text and a stranger are left to the
        weighted sum, and so is the session's text where there was none in what it has learned from.
        """
        ranker = self.ranker
        if ranker is None or not self._is_ranked(query, profile):
            return fused.totals

        def ranked() -> np.ndarray:
            proposals = self._propose(fused, profile)
            margins = ranker.scores(proposals.features)
            totals = fused.totals.copy()
            totals[proposals.item_rows] = margins - margins.min(initial=0.0) + totals.max() + 1.0
            return totals

        return ranked() if key is None else self._recent_ranked.of(_ranked_key(key, profile), ranked)

    def _is_ranked(self, query: Query, profile: Profile) -> bool:
        is_its_kind = profile.by_history and (profile.text_weight == 0 or self._ranker_reads_sentences)
        return self.ranker is not None and query.by_ranker and is_its_kind

    def is_ranked(self, query: Query) -> bool:
        """Whether the ranker orders the best of this query's list, or the weighted sum all of it."""
        return self._is_ranked(query, self.profile(query))

    def profile(self, query: Query) -> Profile:
        """What the query says in terms of the model; its filter counts, as in the list."""
        return self._profile(query)

    def similar(self, item_id: str, count: int, exclude_ids: frozenset[str] = frozenset()) -> Slate:
        """The nearest items in the fused space, text and behaviour together, whoever asks."""
        row = self.row_of(item_id)
        scores = self.vectors @ self.vectors[row]
        hidden = np.concatenate([self.unavailable_rows, [row], self.known_rows(exclude_ids)])
        return Slate(self.listed(scores, hidden, count, "similar"), None)

    def row_of(self, item_id: str) -> int:
        """Raises UnknownItemError, naming the nearest ids, for an item that the release does not know."""
        row = self.rows.get(item_id)
        if row is None:
            nearest = ", ".join(nearest_ids(item_id, self.item_ids))
            raise UnknownItemError(f"item {item_id!r} is not in this release; nearest ids: {nearest}")
        return row

    def known_rows(self, item_ids: Sequence[str] | frozenset[str]) -> np.ndarray:
        """Rows of the ids that the release knows, ascending and distinct."""
        return self._reader.known_rows(item_ids)

    def listed(self, scores: np.ndarray, hidden_rows: np.ndarray, count: int, name: str) -> tuple[RankedItem, ...]:
        """The best `count` by (n_items,) scores, whoever asks; name: what their `source` says."""
        shown = scores.copy()
        shown[hidden_rows] = -np.inf
        placed: list[tuple[int, Kept | None]] = [(best, None) for best in top_k(shown, count).tolist()]
        return self._items(placed, scores, [name] * len(placed))

    def score(self, queries: Sequence[Query]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n_sources, n, n_items) scores as the sources give them; (n, n_items) bool: which may be shown; (n,) how much
        the sentence counts."""
        profiles = [self._reader.profile(query) for query in queries]
        allowed = np.ones((len(queries), self.n_items), dtype=bool)
        for row, profile in enumerate(profiles):
            allowed[row, profile.hidden_rows] = False
        shoppers = self._scorer.shoppers(profiles)
        return self._scorer.scores(shoppers), allowed, shoppers.text_weight

    def shoppers(self, queries: Sequence[Query]) -> Shoppers:
        """The queries as the sources read them."""
        return self._scorer.shoppers([self._reader.profile(query) for query in queries])

    def fused(self, queries: Sequence[Query]) -> list[Fused]:
        """How every item is judged for each query, hidden ones among them; before the ranker and the query's rules."""
        profiles = [self._reader.profile(query) for query in queries]
        return [fused for _, fused in self._scorer.keyed(profiles)]

    def _boosted(self, totals: np.ndarray, hidden_rows: np.ndarray, rules: Rules) -> np.ndarray:
        if not rules.boosts:
            return totals
        return boosted(totals, hidden_rows, [(self.matching(one.filter), one.factor) for one in rules.boosts])

    def _placed(self, totals: np.ndarray, hidden_rows: np.ndarray, query: Query) -> list[tuple[int, Kept | None]]:
        """The rows of the list in their order, and why those have their place that have it not by their score."""
        rules, count = query.rules, query.count
        share = self.new_item_share if rules.new_items is None else rules.new_items
        shown = totals.copy()
        shown[hidden_rows] = -np.inf
        new_ranked = self._new_ranked(shown, count) if n_slots(count, share) else NO_ROWS
        if rules == PLAIN:
            plain = with_new_items(top_k(shown, count), new_ranked, count, share)
            return [(row, NEW if kept else None) for row, kept in plain]
        limits = self._limits(rules)
        pinned = self._pinned(query)
        return list(arrange(shown, new_ranked, pinned, limits, self.vectors, rules.diversity, count, share))

    def _limits(self, rules: Rules) -> list[Limit]:
        wanted = [
            (rules.max_per_category, self.properties.category.codes),
            (rules.max_per_brand, self.properties.brand.codes),
        ]
        limits = [Limit(codes, most) for most, codes in wanted if most > 0]
        return [*limits, Limit(self.properties.variants, 1)] if rules.collapse_variants else limits

    def _pinned(self, query: Query) -> dict[int, int]:
        """Rows by 0-based place. A pin goes before filters and limits, but shows nothing that is unknown, unavailable
        or excluded by id; of two pins of one item or one place the first counts."""
        pinned: dict[int, int] = {}
        for pin in query.rules.pins:
            row = self.rows.get(pin.item_id, -1)
            showable = row >= 0 and self.properties.available[row] and pin.item_id not in query.exclude_ids
            if showable and row not in pinned.values():
                pinned.setdefault(pin.position - 1, row)
        return pinned

    def _leading(self, fused: Fused, placed: Sequence[tuple[int, Kept | None]]) -> list[str]:
        """The source that added most to each place."""
        added = fused.added(np.array([row for row, _ in placed], dtype=np.int64))
        # A source without evidence adds 0, which can exceed a weak item's score.
        added[~fused.speaks] = -np.inf
        return [self.source_names[source] for source in added.argmax(axis=0)]

    def _items(
        self, placed: Sequence[tuple[int, Kept | None]], totals: np.ndarray, sources: Sequence[str]
    ) -> tuple[RankedItem, ...]:
        return tuple(
            RankedItem(
                item_id=self.item_ids[row],
                score=round(float(totals[row]), 6),
                rank=rank,
                source=kept or source,
                title=self.properties.titles[row],
            )
            for rank, ((row, kept), source) in enumerate(zip(placed, sources, strict=True), start=1)
        )

    def _explained(
        self,
        items: tuple[RankedItem, ...],
        query: Query,
        profile: Profile,
        placed: Sequence[tuple[int, Kept | None]],
        fused: Fused,
    ) -> tuple[RankedItem, ...]:
        told = explanations(query, profile, placed, fused, self.source_names, self.model, self.properties, self.facts)
        return tuple(replace(item, explanation=one) for item, one in zip(items, told, strict=True))

    def _new_ranked(self, totals: np.ndarray, count: int) -> np.ndarray:
        """At most `count` rows of new items that may be shown, the most promising first."""
        return self.new_rows[top_k(totals[self.new_rows] + self.model.promise[self.new_rows], count)]


def _ranked_key(key: Hashable, profile: Profile) -> Hashable:
    """Of what the ranker made of the scores under `key`: it is given what may be shown."""
    return key, digest_of(profile.hidden_rows)


BATCH_CELLS = 8_000_000
"""Many queries are scored in batches of about this many floats, so that memory does not grow with their number."""


def batches(n_queries: int, cells_per_query: int) -> Iterator[slice]:
    """Slices of the queries that are scored together."""
    size = max(1, BATCH_CELLS // max(cells_per_query, 1))
    for start in range(0, n_queries, size):
        yield slice(start, min(start + size, n_queries))
