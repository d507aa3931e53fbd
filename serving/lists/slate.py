"""Making the list of a query, as a span of the request's trace."""

from __future__ import annotations

from recsys.query import Query
from recsys.slate import Slate
from serving.releases.active import ActiveRelease
from serving.telemetry.tracing import note, span


def make_slate(query: Query, active: ActiveRelease) -> Slate:
    """The list of the query from this release."""
    with span("recommend", count=query.count, release_id=active.release.release_id) as recommend_span:
        slate = active.release.recommender.recommend([query])[0]
        note(recommend_span, items=len(slate.items), fallback=slate.fallback or "none")
    return slate
