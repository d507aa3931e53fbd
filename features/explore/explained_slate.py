"""One list, all that made it so, and what it would be if something were otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from features.explore.rule_steps import rule_steps
from features.explore.showing import as_html, as_text
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
    """A query with the recommender that answers it. Each what-if is another of these, see `versus`."""

    recommender: Recommender
    query: Query
    settings: config.Settings
    encode: Callable[[Sequence[str]], np.ndarray]
    said: str = ""

    @cached_property
    def slate(self) -> Slate:
        """As the service would answer."""
        return self.recommender.recommend([replace(self.query, explain=True)])[0]

    @cached_property
    def items(self) -> pl.DataFrame:
        """place, item_id, title, score, source, reason of the list."""
        schema = {"place": pl.Int64, "item_id": pl.String, "title": pl.String, "score": pl.Float64}
        rows = [
            (one.rank, one.item_id, one.title, one.score, one.source, one.explanation and one.explanation.reason.text)
            for one in self.slate.items
        ]
        return pl.DataFrame(rows, schema=schema | {"source": pl.String, "reason": pl.String}, orient="row")

    @cached_property
    def history(self) -> pl.DataFrame:
        """timestamp, event_type, item_id, title, weight of what is known of the shopper, newest first; null items are
        texts, whose words are in no release."""
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
        """place, item_id, title, and a column a source: what each added to the score, before ranker and rules."""
        told = [one.explanation.scores if one.explanation else {} for one in self.slate.items]
        names = list(dict.fromkeys(name for scores in told for name in scores))
        columns = [pl.Series(name, [scores.get(name) for scores in told], dtype=pl.Float64) for name in names]
        return self.items.select("place", "item_id", "title").with_columns(columns)

    def candidates(self, count: int = 10) -> pl.DataFrame:
        """source, place, item_id, title, z_score, in_slate: the best of each source that speaks, that may be shown."""
        scores, allowed, _ = source_scores(self.recommender, [self.query])
        standard = z_scores(scores)[:, 0]
        places = {item.item_id: item.rank for item in self.slate.items}
        rows = [
            (
                source.name,
                place,
                self.recommender.item_ids[row],
                self.recommender.properties.titles[row],
                float(own[row]),
            )
            for source, own in zip(self.recommender.sources, standard, strict=True)
            if own.any()
            for place, row in enumerate(top_k(np.where(allowed[0], own, -np.inf), count).tolist(), start=1)
        ]
        table = pl.DataFrame(rows, schema=["source", "place", "item_id", "title", "z_score"], orient="row")
        return table.with_columns(
            in_slate=pl.col("item_id").replace_strict(places, default=None, return_dtype=pl.Int64)
        )

    def query_neighbours(self, count: int = 10) -> pl.DataFrame:
        """place, item_id, title, cosine: what lies nearest to what the sequence model expects next."""
        wanted = unit_rows(shoppers(self.recommender, [self.query]).query_vectors)[0]
        cosines = self.recommender.vectors @ wanted
        rows = top_k(cosines, count).tolist() if wanted.any() else []
        titles, ids = self.recommender.properties.titles, self.recommender.item_ids
        told = [(place, ids[row], titles[row], float(cosines[row])) for place, row in enumerate(rows, start=1)]
        schema = {"place": pl.Int64, "item_id": pl.String, "title": pl.String, "cosine": pl.Float64}
        return pl.DataFrame(told, schema=schema, orient="row")

    @property
    def is_ranked(self) -> bool:
        """Whether the ranker's trees ordered the best of the list, or the weighted sum all of it."""
        return self.recommender.is_ranked(self.query)

    @cached_property
    def by_feature(self) -> pl.DataFrame:
        """place, item_id, title, feature, value, contribution: SHAP values of the ranker for each item of the list that
        it ordered, largest first; empty where the weighted sum ranked alone."""
        schema = {"place": pl.Int64, "item_id": pl.String, "title": pl.String, "feature": pl.String}
        schema |= {"value": pl.Float64, "contribution": pl.Float64}
        shares = feature_shares(self.recommender, self.query, self.slate)
        told = [
            (item.rank, item.item_id, item.title, one.feature, one.value, one.contribution)
            for item, own in zip(self.slate.items, shares, strict=True)
            for one in own
        ]
        return pl.DataFrame(told, schema=schema, orient="row")

    @cached_property
    def by_rule(self) -> pl.DataFrame:
        """step, did, entered, left, moved: what each step of the way changed in the list, see `rule_steps`."""
        return rule_steps(self.recommender, self.query)

    # what if

    def without(self, item_id: str | None = None, *, text: int | None = None) -> ExplainedSlate:
        """Had the shopper not dealt with this item, or not typed or read the n-th newest text (0 the newest). The model
        stays as it was learned: it may remember the shopper."""
        if (item_id is None) == (text is None):
            raise QueryError("name either an item_id or the number of a text to leave out")
        said = f"without {item_id}" if item_id is not None else f"without text {text}"
        left = recommender_without(self.recommender, self.query.user_id, item_id, text, self.settings)
        return replace(self, recommender=left, said=said)

    def with_search(self, words: str) -> ExplainedSlate:
        """Had the shopper just searched for this."""
        at = self.query.asked_at or max((one.timestamp for one in self.query.session), default=None)
        if at is None:
            raise QueryError("the query has no moment at which a search could be added; set asked_at")
        search = Signal("search", at, text_vector=self.encode([words])[0], text=words)
        asked = replace(self.query, session=(*self.query.session, search))
        return replace(self, query=asked, said=f"with a search for “{words}”")

    def with_weight(self, source: str, weight: float) -> ExplainedSlate:
        """Had this source that weight in the sum, see `weights`. The ranker reads no weights: the list is that of the
        weighted sum, to be compared with `by_weighted_sum`."""
        changed = recommender_with_weight(self.recommender, source, weight, self.settings)
        asked = replace(self.query, by_ranker=False)
        return replace(self, recommender=changed, query=asked, said=f"{source} weighs {weight:g}")

    def by_weighted_sum(self) -> ExplainedSlate:
        """Had the ranker kept silent."""
        return replace(self, query=replace(self.query, by_ranker=False), said="by the weighted sum")

    def with_rules(self, rules: Rules) -> ExplainedSlate:
        """Had the request asked for these rules."""
        return replace(self, query=replace(self.query, rules=rules), said="under other rules")

    @property
    def weights(self) -> dict[str, float]:
        """Learned, by source; only their proportions count."""
        return dict(self.recommender.model.fusion.weights)

    def versus(self, other: ExplainedSlate) -> pl.DataFrame:
        """item_id, title, place, was, moved: this list beside the other one; was: its place there."""
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
        told = f", who typed “{self.query.text}”" if self.query.text else ""
        ordered = "ordered by the ranker" if self.is_ranked else "ordered by the weighted sum"
        said = f", {self.said}" if self.said else ""
        fallback = f" (not personal: {self.slate.fallback})" if self.slate.fallback else ""
        return f"List for {who}{told}{said}: {ordered}{fallback}"
