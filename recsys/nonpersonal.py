"""Lists that need no shopper: what sells, and what is bought with something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.filters import Filter
from recsys.recommend import Recommender
from recsys.slate import Slate


def popular(
    recommender: Recommender,
    item_filter: Filter | None,
    count: int,
    exclude_ids: frozenset[str] = frozenset(),
    *,
    lately: bool,
) -> Slate:
    """What sells among the items that fulfil the filter: lately, or over the years; what nobody bought is left out."""
    model = recommender.model
    values = np.asarray(model.trend if lately else model.popularity, dtype=np.float32)
    matching = ~_hidden(recommender, item_filter)
    matching[recommender.known_rows(exclude_ids)] = False
    items = recommender.listed(values, np.flatnonzero(~matching | (values <= 0)), count, "popular")
    return Slate(items, None, int(matching.sum()))


def complements(
    recommender: Recommender,
    item_ids: Sequence[str],
    item_filter: Filter | None,
    count: int,
    exclude_ids: frozenset[str] = frozenset(),
) -> Slate:
    """What shoppers who bought these items bought as well, without what is like one of them.

    The score is the sum of the strengths of `recsys.cooccurrence`. An item whose text has a cosine above `max_likeness`
    with one of them would be bought in its place, not with it, and so would another size or colour of it. Raises
    UnknownItemError where the release knows none of the items, naming ids near the first.
    """
    rows = recommender.known_rows(tuple(item_ids))
    if len(rows) == 0:
        recommender.row_of(item_ids[0])
    facts, text = recommender.facts, recommender.model.text
    strength = np.asarray(facts.together.strength[rows].sum(axis=0), dtype=np.float32).ravel()
    hidden = _hidden(recommender, item_filter) | (strength <= 0)
    hidden[rows] = True
    hidden[recommender.known_rows(exclude_ids)] = True
    left = np.flatnonzero(~hidden)
    alike = (text[left] @ text[rows].T).max(axis=1, initial=-1.0) > facts.max_likeness
    variants = recommender.properties.variants
    hidden[left[alike | np.isin(variants[left], variants[rows])]] = True
    return Slate(recommender.listed(strength, np.flatnonzero(hidden), count, "complements"), None)


def _hidden(recommender: Recommender, item_filter: Filter | None) -> np.ndarray:
    """(n_items,) bool: what may not be shown to anybody, and what does not fulfil the filter."""
    hidden = np.zeros(recommender.n_items, dtype=bool) if item_filter is None else ~recommender.matching(item_filter)
    hidden[recommender.unavailable_rows] = True
    return hidden
