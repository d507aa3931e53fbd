"""The files of the project, as git lists them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("recsys", "features", "jobs", "serving")


def tracked(*patterns: str) -> list[str]:
    """Paths relative to the root of files that match, tracked or new, without those that git ignores."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    run = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted({path for path in run.stdout.splitlines() if (ROOT / path).exists()})


def modules(*folders: str) -> list[str]:
    """Python files at any depth below these folders."""
    return tracked(*(f"{folder}/*.py" for folder in folders))
