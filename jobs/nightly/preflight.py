"""Whether this machine has room for a night, and what is said where it has none."""

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

_FULL: Final = {errno.ENOSPC: "no space left", errno.EDQUOT: "the disk quota is used up"}
_CLOSED: Final = {errno.EROFS: "read-only file system", errno.EACCES: "permission denied"}
_MIB: Final = 1 << 20


def check_room(root: Path, settings: config.NightlySettings) -> None:
    """Raise RoomError, saying how much is free and needed, where the disk below `root` or the memory is too full."""
    disk = shutil.disk_usage(root).free // _MIB
    if disk < settings.free_disk_mb:
        raise ResourceError(
            f"{root}: {disk:,} MiB of disk are free, a night needs {settings.free_disk_mb:,} "
            "(nightly.free_disk_mb); free some, or lower the setting"
        )
    memory = free_memory_mb()
    if memory is not None and memory < settings.free_memory_mb:
        raise ResourceError(
            f"{root}: {memory:,} MiB of memory are free, a night needs {settings.free_memory_mb:,} "
            "(nightly.free_memory_mb); end other programs, or lower the setting"
        )


def free_memory_mb() -> int | None:
    """What Linux could give without swapping, within the limit of the control group, MiB; None elsewhere."""
    try:
        told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(told["MemAvailable"].split()[0]) // 1024
    except (OSError, KeyError, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            files = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            # pages of files are counted as used, and given back when memory is asked for
            used = int((group / "memory.current").read_text()) - int(files.get("inactive_file", 0))
            free = min(free, max(0, int(limit) - used) // _MIB)
    except (OSError, ValueError):
        pass
    return free


@contextmanager
def disk_errors_told(root: Path) -> Iterator[None]:
    """A full or closed disk ends the block with one line, whichever library met it."""
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:
        said = _disk_trouble(error)
        if said is None:
            raise
        raise ResourceError(f"{root}: {said}; nothing is lost: mend it, then run `recsys nightly --resume`") from error


def _disk_trouble(error: Exception) -> str | None:
    known = _FULL | _CLOSED
    if isinstance(error, OSError) and error.errno in known:
        return f"{known[error.errno]} ({error.filename})" if error.filename else known[error.errno]
    if isinstance(error, OSError) and re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # NumPy's words
        return _FULL[errno.ENOSPC]
    text = str(error)  # Lance, safetensors and polars have errors of their own around the system's
    for number, said in known.items():
        if f"os error {number})" in text:
            return said
    return None
