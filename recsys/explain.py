"""Why an item is in a list, from facts: what the shopper did, what others bought, what the request asked for.

No text is generated: a reason is one of a few sentences with a title or a query put in, and it is shown only where what
it states is true. "Customers who bought X also bought this" needs purchases of both by the same shoppers; "because you
viewed X" needs X in the history, and names the strongest event on X (the last in the order of `EVENT_TYPES`).
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
from recsys.fusion import QUERY_TEXT, Fused
from recsys.model import Model
from recsys.properties import Properties
from recsys.query import Profile, Query
from recsys.rerank import NEW, PINNED, Placement
from recsys.review_quotes import Evidence, Quote
from recsys.tables import EVENT_TYPES

NEW_FOR: Final = timedelta(days=7)
MAX_WORDS_CHARS: Final = 80
MAX_HISTORY: Final = 30
"""Newest items of a history that a reason may name: an older one weighs next to nothing."""

BECAUSE: Final = {
    "view": "because you viewed {title}",
    "click": "because you viewed {title}",
    "cart": "because you added {title} to your cart",
    "purchase": "because you bought {title}",
    "rating": "because you rated {title}",
    "search": "because you searched for {title}",
}
BECAUSE_SEEN: Final = "because you looked at {title}"


@dataclass(frozen=True)
class Reason:
    """`kind`: pinned, new, buy_again, words, page, history, together, browsing, trending or popular; `item_id`: the
    item of the page or the shopper's history that the text names, None where it names none."""

    kind: str
    text: str
    item_id: str | None = None


@dataclass(frozen=True)
class Explanation:
    """scores: what each source with evidence added to the item's score, before the ranker and the rules."""

    reason: Reason
    scores: dict[str, float]
    quote: Quote | None


@dataclass(frozen=True)
class ExplanationData:
    """What explanations need beside the model. hidden: ids of reviews that must not be quoted; max_likeness: see
    `recsys.nonpersonal.complements`."""

    together: CoPurchases
    evidence: Evidence
    hidden: Container[str] = ()
    max_likeness: float = 1.0

    @classmethod
    def none(cls, n_items: int) -> ExplanationData:
        return cls(CoPurchases.none(n_items), Evidence.none(n_items))

    def of_more_items(self, n_items: int) -> ExplanationData:
        """The same with items appended, of which nothing is known."""
        return replace(
            self, together=self.together.of_more_items(n_items), evidence=self.evidence.of_more_items(n_items)
        )


def explanations(
    query: Query,
    profile: Profile,
    placed: Sequence[tuple[int, Placement | None]],
    fused: Fused,
    names: Sequence[str],
    model: Model,
    items: Properties,
    facts: ExplanationData,
) -> list[Explanation]:
    """One for each place of the list. names: of the sources, in the order of `fused`."""
    rows = np.array([row for row, _ in placed], dtype=np.int64)
    spoken, all_added = np.flatnonzero(fused.speaks), fused.added(rows)
    writer = ReasonWriter(query, profile, rows, model, items, facts)
    results = []
    for place, (_, slot) in enumerate(placed):
        added = all_added[spoken, place]
        leading = names[int(spoken[added.argmax()])] if len(spoken) else "popular"
        reason = writer.reason(place, slot, leading)
        scores = {names[int(source)]: round(float(value), 6) for source, value in zip(spoken, added, strict=True)}
        results.append(Explanation(reason, scores, writer.quote(place, reason)))
    return results


class ReasonWriter:
    """Writes the reasons and picks the quotes for the items of one list."""

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

    def reason(self, place: int, slot: Placement | None, leading: str) -> Reason:
        """slot: why the item was given its place, None where by its score; leading: the source that added most."""
        if slot == PINNED:
            return Reason("pinned", "our pick")
        if slot == NEW:
            return Reason("new", self._new_text(place))
        if leading == "buy_again":
            return Reason("buy_again", "buy it again", self.model.item_ids[int(self.rows[place])])
        if leading in (QUERY_TEXT, "browsing", "title"):
            return self._words(place, leading)
        if leading in ("sequence", "linear", "factors", "text") and len(self.history_rows):
            return self._history(place, leading)
        if leading == "sequence":  # it has read only texts
            return self._words(place, leading)
        return Reason("trending", "trending now") if leading == "trending" else Reason("popular", "popular")

    def quote(self, place: int, reason: Reason) -> Quote | None:
        """The sentence of the item's reviews that is nearest to the request's text, else to what the shopper searched
        for and read, else to the item that the reason names."""
        direction, matched_on = None, "item"
        if self.profile.text_weight > 0 and self.profile.query_text.any():
            direction, matched_on = self.profile.query_text, "text"
        elif self.profile.browsing.any():
            direction, matched_on = self.profile.browsing, "browsing"
        elif reason.kind in ("history", "page", "together"):
            named = self.history_rows[[self.model.item_ids[int(row)] == reason.item_id for row in self.history_rows]]
            direction, matched_on = self.model.text[named[0]], "history"
        return self.facts.evidence.quote(int(self.rows[place]), direction, matched_on, self.facts.hidden)

    def _new_text(self, place: int) -> str:
        now, updated_us = self.query.asked_at, int(self.items.updated_us[self.rows[place]])
        if now is not None and updated_us > int((now - NEW_FOR).timestamp() * 1_000_000):
            return "new this week"
        return "new arrival"

    def _words(self, place: int, leading: str) -> Reason:
        """Names the request's text, else the session's text nearest to the item, else no text: what was searched for on
        other days is stored only as vectors."""
        if self.query.text is not None and self.query.text_vector is not None:
            return Reason("words", f"matches '{_short(self.query.text)}'")
        texts = [signal for signal in self.query.session if signal.text and signal.text_vector is not None]
        if texts:
            item = self.model.text[self.rows[place]]
            newest = max(texts, key=lambda signal: signal.timestamp)
            nearest = (
                newest if leading == QUERY_TEXT else max(texts, key=lambda signal: float(signal.text_vector @ item))
            )
            return Reason("words", f"matches '{_short(nearest.text or '')}'")
        return Reason("browsing", "similar to your searches")

    def _history(self, place: int, leading: str) -> Reason:
        """Names the item of the page or the history that counts most for this one."""
        row, most = int(self.rows[place]), int(self._shares(leading, int(self.rows[place])).argmax())
        history_row = int(self.history_rows[most])
        own_id = self.model.item_ids[history_row]
        title = _short(self.items.titles[history_row] or own_id)
        if leading != "text" and self.facts.together.shoppers[history_row, row] > 0:
            return Reason("together", f"customers who bought {title} also bought this", own_id)
        if own_id in self.page:
            return Reason("page", f"goes with {title}", own_id)
        code = self.event_types.get(history_row)
        because = BECAUSE_SEEN if code is None else BECAUSE.get(EVENT_TYPES[code], BECAUSE_SEEN)
        return Reason("history", because.format(title=title), own_id)

    def _shares(self, leading: str, row: int) -> np.ndarray:
        """(n_history,) how much each item of the history counts for the item in that source."""
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
        """(n_history, n_items), in columns, as single columns are read."""
        return self.model.linear[self.history_rows].tocsc()


def _short(text: str) -> str:
    return text if len(text) <= MAX_WORDS_CHARS else text[: MAX_WORDS_CHARS - 1].rstrip() + "…"
