"""Whether the encoder can read the shop's texts. It holds no release back: behaviour and words serve."""

from __future__ import annotations

import math
from typing import Final

from features.encoder.reading import WARN_ABOVE, Reading
from jobs.gate.findings import Finding
from recsys import config

MAX_SPELLED: Final = 1 / 3
"""Share of letters that an encoder may read one by one."""


def reading_findings(reading: Reading, settings: config.Settings) -> list[Finding]:
    """One on what the encoder cannot read, one on what it spells; none without texts."""
    if not reading.n_texts:
        return []
    model = settings.encoder.model
    remedy = f"set encoder.model to a multilingual encoder, see docs/languages.md (now {model})"
    says = reading.says()
    if reading.left_out:
        says += "; text vectors are left out, lists come from behaviour and searches from words"
    findings = [_finding("texts read", reading.unread, WARN_ABOVE, says, remedy)]
    if reading.spelled > 0:
        named = ", ".join(each.name for each in reading.scripts if each.is_spelled)
        says = f"the encoder reads {reading.spelled:.0%} of the letters one by one ({named}), not as words"
        findings.append(_finding("texts spelled", reading.spelled, MAX_SPELLED, says, remedy))
    return findings


def _finding(name: str, value: float, limit: float, says: str, remedy: str) -> Finding:
    if value <= limit:
        return Finding(name, value, -math.inf, limit, "ok", says)
    return Finding(name, value, -math.inf, limit, "warning", says, remedy)
