"""Time in the simulator is a whole number of microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Final

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
NEVER: Final = 2**63 - 1


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime on a whole second."""
    return round(moment.timestamp()) * SECOND
