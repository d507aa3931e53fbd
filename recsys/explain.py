"""Why an item is in a list, in words made of facts: what the shopper did, what others bought, what was asked for.

Nothing is generated: a reason is one of a few sentences with a title, a query or nothing put in, and each is said only
where what it states is so. "Shoppers who bought X also bought this" needs purchases of both by the same shoppers;
"because you viewed X" needs X in the history, and names the event that says most about it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Final

import numpy as np
import scipy.sparse as sp

from recsys.cooccurrence import CoPurchases
from recsys.fusion import Fused
from recsys.model import Model
from recsys.properties import Properties
from recsys.query import Profile, Query
from recsys.rerank import NEW, PINNED, Kept
from recsys.review_quotes import Evidence, Quote
from recsys.tables import EVENT_TYPES

NEW_FOR: Final = timedelta(days=7)
MAX_WORDS_CHARS: Final = 80
MAX_HISTORY: Final = 30
"""Newest items of a history that a reason may name: an older one weighs next to nothing."""

VERBS: Final = {
    "view": "viewed",
    "click": "viewed",
    "cart": "put into your cart",
    "purchase": "bought",
    "rating": "rated",
    "search": "searched for",
}


@dataclass(frozen=True)
class Reason:
    """`kind`: pinned, new, again, words, page, history, together, browsing, trending or popular; `item_id`: of the item
    of the shopper's that it names, None where it names none."""

    kind: str
    text: str
    item_id: str | None = None


@dataclass(frozen=True)
class Explanation:
    """scores: what each source that speaks added to the item's score, before the ranker and the rules."""

    reason: Reason
    scores: dict[str, float]
    quote: Quote | None


@dataclass(frozen=True)
class ExplanationData:
    """What a release knows beyond what it ranks by. hidden: ids of reviews that must not be quoted; max_likeness: see
    `recsys.nonpersonal.complements`."""

    together: CoPurchases
    evidence: Evidence
    hidden: Container[str] = ()
    max_likeness: float = 1.0

    @classmethod
    def none(cls, n_items: int) -> ExplanationData:
        return cls(CoPurchases.none(n_items), Evidence.none(n_items))

    def of_more_items(self, n_items: int) -> ExplanationData:
        """With items behind its own of which nothing is known."""
        return replace(
            self, together=self.together.of_more_items(n_items), evidence=self.evidence.of_more_items(n_items)
        )


def explanations(
    query: Query,
    profile: Profile,
    placed: Sequence[tuple[int, Kept | None]],
    fused: Fused,
    names: Sequence[str],
    model: Model,
    items: Properties,
    facts: ExplanationData,
) -> list[Explanation]:
    """One for each place. names: of the sources."""
    rows = np.array([row for row, _ in placed], dtype=np.int64)
    spoken, all_added = np.flatnonzero(fused.speaks), fused.added(rows)
    told = ReasonWriter(query, profile, rows, model, items, facts)
    found = []
    for place, (_, kept) in enumerate(placed):
        added = all_added[spoken, place]
        leading = names[int(spoken[added.argmax()])] if len(spoken) else "popular"
        reason = told.reason(place, kept, leading)
        scores = {names[int(source)]: round(float(value), 6) for source, value in zip(spoken, added, strict=True)}
        found.append(Explanation(reason, scores, told.quote(place, reason)))
    return found


class ReasonWriter:
    """What the shopper has told of themselves, against the items of one list."""

    def __init__(
        self, query: Query, profile: Profile, rows: np.ndarray, model: Model, items: Properties, facts: ExplanationData
    ) -> None:
        self.query = query
        self.profile = profile
        self.rows = rows
        self.model = model
        self.items = items
        self.facts = facts
        heavy = np.argsort(-profile.history[1], kind="stable")[:MAX_HISTORY]
        self.history_rows, self.weights = profile.history[0][heavy], profile.history[1][heavy]
        read = profile.read
        self.event_types = dict(zip(read.item_rows.tolist(), read.event_types.tolist(), strict=True))
        self.page = {model.item_ids[int(row)] for row in self.history_rows} & set(query.item_ids)

    def reason(self, place: int, kept: Kept | None, leading: str) -> Reason:
        """kept: why the item has its place, None where by its score; leading: the source that added most."""
        if kept == PINNED:
            return Reason("pinned", "chosen by the shop")
        if kept == NEW:
            return Reason("new", self._news(place))
        if leading == "again":
            return Reason("again", "you may need it again", self.model.item_ids[int(self.rows[place])])
        if leading in ("sentence", "browsing", "title"):
            return self._words(place, leading)
        if leading in ("sequence", "linear", "factors", "text") and len(self.history_rows):
            return self._history(place, leading)
        if leading == "sequence":  # which has read texts alone
            return self._words(place, leading)
        return Reason("trending", "popular these days") if leading == "trending" else Reason("popular", "popular")

    def quote(self, place: int, reason: Reason) -> Quote | None:
        """The sentence of the item's reviews that speaks most to the request's words, else to what was searched for and
        read, else to the item that the reason names."""
        wanted, about = None, "item"
        if self.profile.asked > 0 and self.profile.sentence.any():
            wanted, about = self.profile.sentence, "text"
        elif self.profile.browsing.any():
            wanted, about = self.profile.browsing, "browsing"
        elif reason.kind in ("history", "page", "together"):
            named = self.history_rows[[self.model.item_ids[int(row)] == reason.item_id for row in self.history_rows]]
            wanted, about = self.model.text[named[0]], "history"
        return self.facts.evidence.quote(int(self.rows[place]), wanted, about, self.facts.hidden)

    def _news(self, place: int) -> str:
        now, updated_us = self.query.asked_at, int(self.items.updated_us[self.rows[place]])
        if now is not None and updated_us > int((now - NEW_FOR).timestamp() * 1_000_000):
            return "new this week"
        return "new in the shop"

    def _words(self, place: int, leading: str) -> Reason:
        """By the request's words, else by those of the session that are nearest to the item, else without any: what was
        searched for on other days is known as vectors alone."""
        if self.query.text is not None and self.query.text_vector is not None:
            return Reason("words", f"matches '{_short(self.query.text)}'")
        said = [one for one in self.query.session if one.text and one.text_vector is not None]
        if said:
            item = self.model.text[self.rows[place]]
            newest = max(said, key=lambda one: one.timestamp)
            nearest = newest if leading == "sentence" else max(said, key=lambda one: float(one.text_vector @ item))
            return Reason("words", f"matches '{_short(nearest.text or '')}'")
        return Reason("browsing", "like what you searched for")

    def _history(self, place: int, leading: str) -> Reason:
        """By the item of page or history that counts most for this one."""
        row, most = int(self.rows[place]), int(self._shares(leading, int(self.rows[place])).argmax())
        own = int(self.history_rows[most])
        own_id = self.model.item_ids[own]
        title = _short(self.items.titles[own] or own_id)
        if leading != "text" and self.facts.together.shoppers[own, row] > 0:
            return Reason("together", f"shoppers who bought {title} also bought this", own_id)
        if own_id in self.page:
            return Reason("page", f"goes with {title}", own_id)
        code = self.event_types.get(own)
        verb = VERBS.get(EVENT_TYPES[code], "looked at") if code is not None else "looked at"
        return Reason("history", f"because you {verb} {title}", own_id)

    def _shares(self, leading: str, row: int) -> np.ndarray:
        """(n_history,) how much each item of the history counts for the item in that source's own terms."""
        if leading == "linear":
            likeness = self._linear[:, [row]].toarray().ravel()
        else:
            vectors = {
                "sequence": self.model.sequence.item_vectors,
                "factors": self.model.factors.item_factors,
                "text": self.model.whitened,
            }[leading]
            likeness = vectors[self.history_rows] @ vectors[row]
        shares: np.ndarray = likeness * self.weights
        return shares

    @cached_property
    def _linear(self) -> sp.csc_matrix:
        """(n_history, n_items), of which columns are read."""
        return self.model.linear[self.history_rows].tocsc()


def _short(text: str) -> str:
    return text if len(text) <= MAX_WORDS_CHARS else text[: MAX_WORDS_CHARS - 1].rstrip() + "…"
