"""New ids of recommendations and events."""

from __future__ import annotations

import secrets
from datetime import datetime


def new_id(now: datetime) -> str:
    """32 hex digits that sort by time and cannot be guessed: UUID version 7 (RFC 9562, section 5.7)."""
    time_ms = int(now.timestamp() * 1000)
    bits = time_ms << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return f"{bits:032x}"
