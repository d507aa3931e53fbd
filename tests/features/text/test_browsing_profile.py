"""Browsing profiles, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from features.text.browsing_profile import browsing_profiles
from recsys.config import EmbedSettings

X, Y, ZERO = [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]


def profiles(rows: list[tuple[str, int, list[float]]], **settings: float) -> dict[str, list[float]]:
    browsing = pl.DataFrame(
        {"user_id": [row[0] for row in rows], "timestamp": [datetime(2024, 1, row[1], tzinfo=UTC) for row in rows]},
        schema={"user_id": pl.String, "timestamp": pl.Datetime("us", "UTC")},
    )
    vectors = np.array([row[2] for row in rows], dtype=np.float32).reshape(len(rows), 2)
    user_ids, directions = browsing_profiles(browsing, vectors, EmbedSettings(**settings))  # type: ignore[arg-type]
    assert directions.shape == (len(user_ids), 2)
    assert directions.dtype == np.float32
    return dict(zip(user_ids, directions.astype(np.float64).round(4).tolist(), strict=True))


def test_newer_texts_weigh_more() -> None:
    # Newest Y weighs 1, then X 0.5, then X 0.25: (0.75, 1) / 1.25.
    assert profiles([("u", 3, Y), ("u", 1, X), ("u", 2, X)], browsing_decay=0.5) == {"u": [0.6, 0.8]}


def test_of_equal_times_the_later_row_is_the_newer() -> None:
    assert profiles([("u", 1, X), ("u", 1, Y)], max_browsing_texts=1) == {"u": Y}


def test_only_the_newest_texts_count_and_users_do_not_mix() -> None:
    rows = [("b", 1, X), ("b", 2, Y), ("a", 1, X)]
    assert profiles(rows, max_browsing_texts=1) == {"a": X, "b": Y}


def test_texts_without_a_vector_do_not_use_up_the_count() -> None:
    assert profiles([("u", 1, X), ("u", 2, ZERO)], max_browsing_texts=1) == {"u": X}


def test_who_said_nothing_or_its_contrary_has_no_profile() -> None:
    assert profiles([("nothing", 1, ZERO), ("both", 1, X), ("both", 2, [-1.0, 0.0])], browsing_decay=1.0) == {}
    assert profiles([("u", 1, X)], max_browsing_texts=0) == {}
    assert profiles([]) == {}
