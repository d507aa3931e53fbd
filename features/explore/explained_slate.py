"""A recommendation list with its explanation, and what-if versions of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from features.explore.display import as_html, as_text
from features.explore.rule_steps import rule_steps
from features.explore.what_if import recommender_with_weight, recommender_without
from recsys import config
from recsys.batch_scoring import shoppers, source_scores
from recsys.errors import QueryError
from recsys.fusion import z_scores
from recsys.query import Query, Signal
from recsys.ranker_shares import feature_shares
from recsys.recommend import Recommender
from recsys.rules import Rules
from recsys.slate import Slate
from recsys.tables import EVENT_TYPES
from recsys.top_k import top_k
from recsys.whitening import unit_rows


@dataclass(frozen=True)
class ExplainedSlate:
    """A query with the recommender that answers it. Each what-if returns another one; compare the two with `versus`.

    change: how a what-if differs from the original, for the title; "" for the original.
    """

    recommender: Recommender
    query: Query
    settings: config.Settings
    encode: Callable[[Sequence[str]], np.ndarray]
    change: str = ""

    @cached_property
    def slate(self) -> Slate:
        """The list that the service would return."""
        return self.recommender.recommend([replace(self.query, explain=True)])[0]

    @cached_property
    def items(self) -> pl.DataFrame:
        """place, item_id, title, score, source, reason: one row per item of the list."""
        schema = {"place": pl.Int64, "item_id": pl.String, "title": pl.String, "score": pl.Float64}
        rows = [
            (
                item.rank,
                item.item_id,
                item.title,
                item.score,
                item.source,
                item.explanation and item.explanation.reason.text,
            )
            for item in self.slate.items
        ]
        return pl.DataFrame(rows, schema=schema | {"source": pl.String, "reason": pl.String}, orient="row")

    @cached_property
    def history(self) -> pl.DataFrame:
        """timestamp, event_type, item_id, title, weight of each entry in the shopper's history, newest first.

        item_id is null for texts (searches, viewed pages): releases store their vectors, not their words.
        """
        known = self.recommender.users.history(self.query.user_id)
        ids, titles = self.recommender.item_ids, self.recommender.properties.titles
        rows = [int(row) for row in known.item_rows]
        return pl.DataFrame(
            {
                "timestamp": pl.Series(known.timestamps).cast(pl.Datetime("us", "UTC")),
                "event_type": [EVENT_TYPES[code] for code in known.event_types],
                "item_id": pl.Series([ids[row] if row >= 0 else None for row in rows], dtype=pl.String),
                "title": pl.Series([titles[row] if row >= 0 else None for row in rows], dtype=pl.String),
                "weight": known.weights,
            }
        ).reverse()

    @cached_property
    def by_source(self) -> pl.DataFrame:
        """place, item_id, title, and one column per source: its part of the score, before ranker and rules."""
        parts = [item.explanation.scores if item.explanation else {} for item in self.slate.items]
        names = list(dict.fromkeys(name for scores in parts for name in scores))
        columns = [pl.Series(name, [scores.get(name) for scores in parts], dtype=pl.Float64) for name in names]
        return self.items.select("place", "item_id", "title").with_columns(columns)

    def candidates(self, count: int = 10) -> pl.DataFrame:
        """source, place, item_id, title, z_score, in_slate: the best eligible candidates of each source.

        Sources that score no item for this query are left out. in_slate: place in the final list, null if not in it.
        """
        scores, allowed, _ = source_scores(self.recommender, [self.query])
        standard = z_scores(scores)[:, 0]
        places = {item.item_id: item.rank for item in self.slate.items}
        rows = [
            (
                source.name,
                place,
                self.recommender.item_ids[row],
                self.recommender.properties.titles[row],
                float(source_scores[row]),
            )
            for source, source_scores in zip(self.recommender.sources, standard, strict=True)
            if source_scores.any()
            for place, row in enumerate(top_k(np.where(allowed[0], source_scores, -np.inf), count).tolist(), start=1)
        ]
        table = pl.DataFrame(rows, schema=["source", "place", "item_id", "title", "z_score"], orient="row")
        return table.with_columns(
            in_slate=pl.col("item_id").replace_strict(places, default=None, return_dtype=pl.Int64)
        )

    def query_neighbours(self, count: int = 10) -> pl.DataFrame:
        """place, item_id, title, cosine: the items nearest to the vector that the sequence model predicts next."""
        query_vector = unit_rows(shoppers(self.recommender, [self.query]).query_vectors)[0]
        cosines = self.recommender.vectors @ query_vector
        rows = top_k(cosines, count).tolist() if query_vector.any() else []
        titles, ids = self.recommender.properties.titles, self.recommender.item_ids
        nearest = [(place, ids[row], titles[row], float(cosines[row])) for place, row in enumerate(rows, start=1)]
        schema = {"place": pl.Int64, "item_id": pl.String, "title": pl.String, "cosine": pl.Float64}
        return pl.DataFrame(nearest, schema=schema, orient="row")

    @property
    def is_ranked(self) -> bool:
        """Whether the ranker ordered the top of the list; if not, the weighted sum ordered all of it."""
        return self.recommender.is_ranked(self.query)

    @cached_property
    def by_feature(self) -> pl.DataFrame:
        """place, item_id, title, feature, value, contribution: SHAP values of the ranker, largest first.

        Covers the items that the ranker ordered; empty if the weighted sum ordered the whole list.
        """
        schema = {"place": pl.Int64, "item_id": pl.String, "title": pl.String, "feature": pl.String}
        schema |= {"value": pl.Float64, "contribution": pl.Float64}
        shares = feature_shares(self.recommender, self.query, self.slate)
        rows = [
            (item.rank, item.item_id, item.title, share.feature, share.value, share.contribution)
            for item, item_shares in zip(self.slate.items, shares, strict=True)
            for share in item_shares
        ]
        return pl.DataFrame(rows, schema=schema, orient="row")

    @cached_property
    def by_rule(self) -> pl.DataFrame:
        """step, did, entered, left, moved: what each ranking step changed in the list; see `rule_steps`."""
        return rule_steps(self.recommender, self.query)

    # what if

    def without(self, item_id: str | None = None, *, text: int | None = None) -> ExplainedSlate:
        """The list if the history lacked this item, or its n-th newest text (0 is the newest).

        The model is not retrained, so it may still reflect the shopper. Raises QueryError unless exactly one of the two
        is given, or if the history does not contain it.
        """
        if (item_id is None) == (text is None):
            raise QueryError("name either an item_id or the number of a text to leave out")
        change = f"without {item_id}" if item_id is not None else f"without text {text}"
        reduced = recommender_without(self.recommender, self.query.user_id, item_id, text, self.settings)
        return replace(self, recommender=reduced, change=change)

    def with_search(self, words: str) -> ExplainedSlate:
        """The list if the shopper had just searched for these words.

        Raises QueryError if the query has no time: neither `asked_at` nor a session.
        """
        at = self.query.asked_at or max((signal.timestamp for signal in self.query.session), default=None)
        if at is None:
            raise QueryError("the query has no time at which to add a search; set asked_at")
        search = Signal("search", at, text_vector=self.encode([words])[0], text=words)
        query = replace(self.query, session=(*self.query.session, search))
        return replace(self, query=query, change=f"with a search for “{words}”")

    def with_weight(self, source: str, weight: float) -> ExplainedSlate:
        """The list of the weighted sum if this source had that weight; see `weights`.

        The ranker does not use these weights, so it is switched off: compare with `by_weighted_sum`.
        """
        changed = recommender_with_weight(self.recommender, source, weight, self.settings)
        query = replace(self.query, by_ranker=False)
        return replace(self, recommender=changed, query=query, change=f"{source} weighs {weight:g}")

    def by_weighted_sum(self) -> ExplainedSlate:
        """The list without the ranker."""
        return replace(self, query=replace(self.query, by_ranker=False), change="without the ranker")

    def with_rules(self, rules: Rules) -> ExplainedSlate:
        """The list under these rules."""
        return replace(self, query=replace(self.query, rules=rules), change="with other rules")

    @property
    def weights(self) -> dict[str, float]:
        """Learned weight of each source in the weighted sum; only their proportions matter."""
        return dict(self.recommender.model.fusion.weights)

    def versus(self, other: ExplainedSlate) -> pl.DataFrame:
        """item_id, title, place, was, moved: this list compared with the other one.

        place, was: the item's place in this list and in the other one, null if absent; moved: was - place.
        """
        was = other.items.select("item_id", was="place", other_title="title")
        return (
            self.items.select("place", "item_id", "title")
            .join(was, on="item_id", how="full", coalesce=True)
            .with_columns(title=pl.coalesce("title", "other_title"), moved=pl.col("was") - pl.col("place"))
            .select("item_id", "title", "place", "was", "moved")
            .sort("place", "was", nulls_last=True)
        )

    def __repr__(self) -> str:
        return f"{self._title()}\n{as_text(self.items)}"

    def _repr_html_(self) -> str:
        return as_html(self.items, self._title())

    def _title(self) -> str:
        who = self.query.user_id or "a guest"
        search = f" searching for “{self.query.text}”" if self.query.text else ""
        ordered = "ordered by the ranker" if self.is_ranked else "ordered by the weighted sum"
        change = f", {self.change}" if self.change else ""
        fallback = f" (not personalized: {self.slate.fallback})" if self.slate.fallback else ""
        return f"List for {who}{search}{change}: {ordered}{fallback}"
