"""Recommenders for what-if questions: without one event, or with another weight. The model is not retrained."""

from __future__ import annotations

import difflib
from dataclasses import replace

import numpy as np

from recsys import config
from recsys.errors import QueryError
from recsys.recommend import Recommender
from recsys.users import History, Users
from recsys.whitening import unit_rows


def recommender_without(
    recommender: Recommender, user_id: str | None, item_id: str | None, text: int | None, settings: config.Settings
) -> Recommender:
    """A recommender that knows only this shopper, without one entry of the stored history.

    item_id: all entries of this item are left out; text: without an item_id, the n-th newest text is, from 0.
    Raises QueryError if the shopper has no stored history, or it does not contain the entry.
    """
    users = recommender.users
    history = users.history(user_id)
    if user_id is None or len(history) == 0:
        raise QueryError("the shopper has no stored history to remove an entry from; name a shopper who has one")
    remaining = np.ones(len(history), dtype=bool)
    if item_id is not None:
        row = recommender.row_of(item_id)
        remaining = history.item_rows != row
        if remaining.all():
            raise QueryError(f"{item_id} is not in the history of {user_id}; `slate.history` lists the entries")
    else:
        texts = np.flatnonzero(history.text_rows >= 0)[::-1]
        if text is None or not 0 <= text < len(texts):
            raise QueryError(f"{user_id} has {len(texts)} texts in the history; number them from 0, the newest")
        remaining[texts[text]] = False
    alone = _alone(users, user_id, history.take(remaining), settings)
    return Recommender.of_parts(recommender.model, alone, recommender.properties, settings, recommender.facts)


def recommender_with_weight(
    recommender: Recommender, source: str, weight: float, settings: config.Settings
) -> Recommender:
    """A recommender whose weighted sum gives `source` this weight.

    Raises QueryError, naming the nearest sources, if the source has no weight, and if the weight is negative.
    """
    fusion = recommender.model.fusion
    if source not in fusion.weights:
        nearest = difflib.get_close_matches(source, fusion.weights, n=3, cutoff=0.0)
        raise QueryError(f"no source {source!r} has a weight; nearest: {', '.join(nearest)}")
    if weight < 0 or not np.isfinite(weight):
        raise QueryError(f"weight {weight} of {source}: must be 0 or greater")
    changed = replace(fusion, weights={**fusion.weights, source: weight})
    model = replace(recommender.model, fusion=changed)
    return Recommender.of_parts(model, recommender.users, recommender.properties, settings, recommender.facts)


def _alone(users: Users, user_id: str, history: History, settings: config.Settings) -> Users:
    """This shopper alone, with that history and the browsing profile of its texts."""
    is_text = history.text_rows >= 0
    texts = users.texts[history.text_rows[is_text]]
    renumbered = replace(history, text_rows=np.where(is_text, np.cumsum(is_text) - 1, -1).astype(np.int32))
    unchanged = users.history(user_id)
    browsing = users.browsing[[users.rows[user_id]]]
    if (unchanged.text_rows >= 0).sum() != is_text.sum():
        ages = np.arange(len(texts))[::-1]
        profile = (settings.embed.browsing_decay**ages) @ texts if len(texts) else np.zeros(users.texts.shape[1])
        browsing = unit_rows(profile[None, :].astype(np.float32))
    return Users({user_id: 0}, np.array([0, len(renumbered)]), renumbered, browsing, texts)
