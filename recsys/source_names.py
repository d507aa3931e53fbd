"""Names of candidate sources that releases of recsys 0.1 stored, and what each is called now.

The names are in the fusion weights, in the ranker's features and in the metrics of every release, so whatever reads one
of those passes the names through here.
"""

from __future__ import annotations

from typing import Final

RENAMED_SOURCES: Final = {"again": "buy_again", "sentence": "query_text"}
"""The name in a stored release: the name today."""

_FEATURE_KINDS: Final = ("score", "place")


def current_source(name: str) -> str:
    """What a source that a release calls `name` is called now."""
    return RENAMED_SOURCES.get(name, name)


def current_feature(name: str) -> str:
    """The same for a ranker feature of a source, e.g. "again_score": see `recsys.ranking.feature_names`."""
    source, _, kind = name.rpartition("_")
    return f"{current_source(source)}_{kind}" if kind in _FEATURE_KINDS else name
