"""Where this user's programs keep what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(part: str) -> Path:
    """A folder of its own for each part of this program, below `XDG_CACHE_HOME` or `~/.cache`; it need not exist."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "recsys" / part
