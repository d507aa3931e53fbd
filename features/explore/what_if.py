"""A recommender with one thing otherwise: an event less, another weight. The model stays as it was learned."""

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
    """Knows this shopper alone, and not what is named; text: the n-th newest, from 0.

    Raises QueryError where the shopper's stored history does not have it.
    """
    users = recommender.users
    history = users.history(user_id)
    if user_id is None or len(history) == 0:
        raise QueryError("there is no stored history to leave something out of; name a shopper who has one")
    kept = np.ones(len(history), dtype=bool)
    if item_id is not None:
        row = recommender.row_of(item_id)
        kept = history.item_rows != row
        if kept.all():
            raise QueryError(f"{user_id} has not dealt with {item_id}; `slate.history` lists what there is")
    else:
        texts = np.flatnonzero(history.text_rows >= 0)[::-1]
        if text is None or not 0 <= text < len(texts):
            raise QueryError(f"{user_id} has {len(texts)} texts in the history; number them from 0, the newest")
        kept[texts[text]] = False
    alone = _alone(users, user_id, history.take(kept), settings)
    return Recommender.of_parts(recommender.model, alone, recommender.properties, settings, recommender.facts)


def recommender_with_weight(
    recommender: Recommender, source: str, weight: float, settings: config.Settings
) -> Recommender:
    """Raises QueryError for a source without a weight, naming the nearest."""
    fusion = recommender.model.fusion
    if source not in fusion.weights:
        nearest = difflib.get_close_matches(source, fusion.weights, n=3, cutoff=0.0)
        raise QueryError(f"no source {source!r} has a weight; nearest: {', '.join(nearest)}")
    if weight < 0 or not np.isfinite(weight):
        raise QueryError(f"weight {weight} of {source}: use 0 or more")
    changed = replace(fusion, weights={**fusion.weights, source: weight})
    model = replace(recommender.model, fusion=changed)
    return Recommender.of_parts(model, recommender.users, recommender.properties, settings, recommender.facts)


def _alone(users: Users, user_id: str, history: History, settings: config.Settings) -> Users:
    """The one shopper with that history, and the browsing profile of the texts that are in it."""
    is_text = history.text_rows >= 0
    texts = users.texts[history.text_rows[is_text]]
    own = replace(history, text_rows=np.where(is_text, np.cumsum(is_text) - 1, -1).astype(np.int32))
    unchanged = users.history(user_id)
    browsing = users.browsing[[users.rows[user_id]]]
    if (unchanged.text_rows >= 0).sum() != is_text.sum():
        ages = np.arange(len(texts))[::-1]
        profile = (settings.embed.browsing_decay**ages) @ texts if len(texts) else np.zeros(users.texts.shape[1])
        browsing = unit_rows(profile[None, :].astype(np.float32))
    return Users({user_id: 0}, np.array([0, len(own)]), own, browsing, texts)
