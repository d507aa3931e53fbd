"""Ids that an unknown one may have been meant for."""

from __future__ import annotations

import difflib
from bisect import bisect
from collections.abc import Sequence

NEAREST_AMONG = 50


def nearest_ids(unknown_id: str, known: Sequence[str], count: int = 3) -> list[str]:
    """Up to `count` of the ascending `known`, the nearest first, among those beside it in their order: comparing with
    all would take the service a second."""
    place = bisect(known, unknown_id)
    beside = known[max(0, place - NEAREST_AMONG) : place + NEAREST_AMONG]
    return difflib.get_close_matches(unknown_id, beside, n=count, cutoff=0.0)
