"""Checks that this machine has enough disk and memory for a nightly run, with clear errors where it has not."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recsys import config
from recsys.errors import RecsysError, ResourceError

_FULL: Final = {errno.ENOSPC: "no space left", errno.EDQUOT: "disk quota exceeded"}
_READ_ONLY: Final = {errno.EROFS: "read-only file system", errno.EACCES: "permission denied"}
_MIB: Final = 1 << 20


def check_room(root: Path, settings: config.NightlySettings) -> None:
    """Raise ResourceError where the disk of `root` or the memory has too little free space; it says how much is
    needed."""
    disk = shutil.disk_usage(root).free // _MIB
    if disk < settings.free_disk_mb:
        raise ResourceError(
            f"{root}: {disk:,} MiB of disk free, a nightly run needs {settings.free_disk_mb:,} MiB "
            "(nightly.free_disk_mb); free some space or lower the setting"
        )
    memory = free_memory_mb()
    if memory is not None and memory < settings.free_memory_mb:
        raise ResourceError(
            f"{root}: {memory:,} MiB of memory free, a nightly run needs {settings.free_memory_mb:,} MiB "
            "(nightly.free_memory_mb); stop other programs or lower the setting"
        )


def free_memory_mb() -> int | None:
    """Memory that Linux can provide without swapping, within the limit of the control group, MiB; None elsewhere."""
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) // 1024
    except (OSError, KeyError, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            files = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            # the page cache counts as used, and is released when memory is needed
            used = int((group / "memory.current").read_text()) - int(files.get("inactive_file", 0))
            free = min(free, max(0, int(limit) - used) // _MIB)
    except (OSError, ValueError):
        pass
    return free


@contextmanager
def plain_disk_errors(root: Path) -> Iterator[None]:
    """Turns the errors of a full or read-only disk into one line, whichever library raised them."""
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:
        problem = _disk_problem(error)
        if problem is None:
            raise
        remedy = "no data was lost; fix the cause and run `recsys nightly --resume`"
        raise ResourceError(f"{root}: {problem}; {remedy}") from error


def _disk_problem(error: Exception) -> str | None:
    known = _FULL | _READ_ONLY
    if isinstance(error, OSError) and error.errno in known:
        return f"{known[error.errno]} ({error.filename})" if error.filename else known[error.errno]
    if isinstance(error, OSError) and re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # NumPy's message
        return _FULL[errno.ENOSPC]
    text = str(error)  # Lance, safetensors and polars have errors of their own around the system's
    for number, meaning in known.items():
        if f"os error {number})" in text:
            return meaning
    return None
