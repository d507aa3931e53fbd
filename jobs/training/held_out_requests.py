"""Held-out choices as the requests that preceded them: the shopper and the current session."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from recsys.query import Query, Signal
from recsys.split import HeldOut

Session = tuple[Signal, ...]


def requests(held_out: HeldOut, read_text: np.ndarray, count: int = 10) -> list[Query]:
    """One request for each of the targets, in their order, with the visit that it belongs to as its session.

    read_text: (n_texts, dim), to which the text_row of `held_out.since` points.
    """
    sessions = _sessions(held_out.since, read_text)
    return [
        Query(user_id=user_id, session=sessions.get((user_id, item_id), ()), count=count, asked_at=held_out.as_of)
        for user_id, item_id in held_out.targets.select("user_id", "item_id").iter_rows()
    ]


def sampled(held_out: HeldOut, n: int, seed: int) -> HeldOut:
    """With `sample_rows` of the targets."""
    return replace(held_out, targets=sample_rows(held_out.targets, n, seed))


def sample_rows(targets: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    """At most `n` rows, drawn with `seed`, in the order they had."""
    if len(targets) <= n:
        return targets
    return targets.with_row_index().sample(n, seed=seed, shuffle=False).sort("index").drop("index")


def _sessions(since: pl.DataFrame, read_text: np.ndarray) -> dict[tuple[str, str], Session]:
    """By user and the item that was asked for."""
    sessions: dict[tuple[str, str], list[Signal]] = {}
    columns = ("user_id", "asked_for", "event_type", "timestamp", "item_id", "text_row")
    for user_id, asked_for, event_type, timestamp, item_id, text_row in since.select(columns).iter_rows():
        vector = None if text_row is None else read_text[text_row]
        sessions.setdefault((user_id, asked_for), []).append(Signal(event_type, timestamp, item_id, vector))
    return {key: tuple(session) for key, session in sessions.items()}
