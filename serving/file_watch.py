"""A file of the workspace that is read again when it has changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Generic, TypeVar

from features.workspace.atomic_files import mark_of
from recsys.errors import RecsysError

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Sized)


class WatchedFile(Generic[T]):
    """read: raises a RecsysError where the file is damaged; kind: what it holds, for the log."""

    def __init__(self, path: Path, read: Callable[[Path], T], kind: str) -> None:
        self._path = path
        self._read = read
        self._kind = kind
        self._seen: tuple[int, int, int] | None = None

    def look(self, otherwise: str) -> T | None:
        """What the file says, where it has changed and can be read; else None.

        One that is gone or damaged is logged once, with what counts `otherwise`.
        """
        seen = mark_of(self._path)
        if seen == self._seen:
            return None
        self._seen = seen
        if seen is None:
            log.error("file of %s gone path=%s %s", self._kind, self._path, otherwise)
            return None
        try:
            said = self._read(self._path)
        except RecsysError as error:
            log.error("file of %s not read error=%s %s", self._kind, error, otherwise)
            return None
        log.info("file of %s read path=%s n=%d", self._kind, self._path, len(said))
        return said
