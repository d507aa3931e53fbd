"""Paths and globs as they are given, and the files that they name."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from recsys.errors import DataError


def expand(patterns: Iterable[str]) -> list[Path]:
    """The files that paths and globs name, each once, absolute, by name within a pattern.

    Raises DataError where a pattern names no file, or a folder.
    """
    listed: dict[Path, None] = {}
    for pattern in patterns:
        paths = matching(pattern)
        if not paths:
            what = "no file matches this pattern" if glob.has_magic(pattern) else "no such file"
            raise DataError(f"{pattern}: {what}")
        listed.update(dict.fromkeys(paths))
    return list(listed)


def matching(pattern: str) -> list[Path]:
    """The files one path or glob names now, possibly none. Raises DataError where it names a folder."""
    paths = _globbed(Path(pattern))
    paths = sorted(path.absolute() for path in paths)
    folder = next((path for path in paths if path.is_dir()), None)
    if folder is not None and len(paths) == 1:
        raise DataError(f"{folder}: is a folder; name its files, for example {folder}/*.parquet")
    return [path for path in paths if path.is_file()]


def _globbed(pattern: Path) -> list[Path]:
    if pattern.exists():
        return [pattern]
    absolute = pattern.absolute()
    return list(Path(absolute.anchor).glob(str(absolute.relative_to(absolute.anchor))))
