"""The lease that every writer of the lake holds: two writers would undo each other's commits."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Final

from features.workspace.lease import hold_lease

LEASE: Final = "writer.lease"
LEASE_MINUTES: Final = 60
"""After so long without renewal, another machine on a shared folder may take over the lease."""


def hold_lake(lake: Path, now: datetime, minutes: float = LEASE_MINUTES) -> AbstractContextManager[object]:
    """Hold the lake at `lake`. Raises StoreError, naming the holder, where another process holds it."""
    return hold_lease(lake / LEASE, now, minutes)
