"""Checks that events and reviews are of items that the catalogue has: nothing can be learned from the others."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final, NoReturn

from jobs.gate.findings import Finding, Severity
from jobs.lake.coverage import Coverage, coverage
from jobs.lake.lake import Lake
from recsys.errors import GateError

REMEDY: Final = "give all files the same kind of item ids, or take a catalogue that names SKUs and variants as aliases"


def check_coverage(lake: Lake, as_of: datetime, min_share: float) -> list[Finding]:
    """A finding that stops the run where fewer of the events and reviews before `as_of` are on items of the catalogue;
    none without a catalogue, and none where `min_share` is 0."""
    covered = coverage(lake, as_of) if min_share > 0 else None
    return [] if covered is None else [matched_items(covered, min_share)]


def matched_items(covered: Coverage, min_share: float) -> Finding:
    share = covered.matched_share
    is_low = share < min_share
    says = f"{share:.1%} of events and reviews are on items of the catalogue"
    if is_low:
        says = f"{says} ({covered.examples()})"
    severity: Severity = "stop" if is_low else "ok"
    return Finding("matched items", share, min_share, math.inf, severity, says, REMEDY if is_low else "")


def refuse_without_matches(lake: Lake, as_of: datetime) -> NoReturn:
    """Raise GateError for a shop whose catalogue has none of the items of its events and reviews: every list would be
    the same and empty of reasons, so `--force` does not publish it either."""
    covered = coverage(lake, as_of)
    examples = "" if covered is None else f" ({covered.examples()})"
    raise GateError(
        f"no event or review is on an item of the catalogue{examples}; nothing is published, not even with --force; "
        f"{REMEDY}"
    )
