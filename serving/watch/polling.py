"""Polling threads: each checks something at a fixed interval until it is closed."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Final, Generic, TypeVar

from features.workspace.atomic_files import mark_of
from recsys.errors import RecsysError

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Sized)


class WatchedFile(Generic[T]):
    """A file that is read again when it changes.

    parse: reads the file; raises a RecsysError where it is damaged. kind: what the file holds, for the log.
    """

    def __init__(self, path: Path, parse: Callable[[Path], T], kind: str) -> None:
        self._path = path
        self._parse = parse
        self._kind = kind
        self._seen: tuple[int, int, int] | None = None

    def read(self, consequence: str) -> T | None:
        """The file's content where it has changed and can be read, else None.

        A missing or damaged file is logged once. consequence: what is in force then, for the log.
        """
        seen = mark_of(self._path)
        if seen == self._seen:
            return None
        self._seen = seen
        if seen is None:
            log.error("%s file missing, %s path=%s", self._kind, consequence, self._path)
            return None
        try:
            content = self._parse(self._path)
        except RecsysError as error:
            log.error("%s file not read, %s error=%s", self._kind, consequence, error)
            return None
        log.info("%s file read path=%s n=%d", self._kind, self._path, len(content))
        return content


LONGEST_PAUSE_POLLS: Final = 64


class Poller:
    """Calls `poll` every `pause_s` seconds. Its result is ignored, and it must not raise."""

    def __init__(self, poll: Callable[[], object], pause_s: float, name: str) -> None:
        self._poll = poll
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, once only; it ends with the process."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and return when the current call has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            self._poll()


class Watch(ABC):
    """Checks its source every `poll_s` seconds, in a separate thread, from `start` to `close`, and holds the last
    result."""

    def __init__(self, poll_s: float, name: str) -> None:
        self._poller = Poller(self.poll, poll_s, name)

    @abstractmethod
    def poll(self) -> object:
        """Check once. It must not raise, whatever goes wrong, so that the thread survives."""

    def start(self) -> None:
        """Start checking."""
        self._poller.start()

    def close(self) -> None:
        """Stop checking; the last result stays."""
        self._poller.close()


class Pauses:
    """Exponential backoff, counted in polls: after each failure twice as many polls are skipped as after the one
    before. Files that are still being copied become complete soon, and damaged ones must not load the machine."""

    def __init__(self) -> None:
        self._pause_polls = 0
        self._n_left = 0

    def skip(self) -> bool:
        """Whether to skip this poll; counts it as skipped."""
        if self._n_left == 0:
            return False
        self._n_left -= 1
        return True

    def failed(self) -> None:
        """Skip the next polls, twice as many as last time."""
        self._pause_polls = min(max(1, 2 * self._pause_polls), LONGEST_PAUSE_POLLS)
        self._n_left = self._pause_polls

    def succeeded(self) -> None:
        """Skip one poll after the next failure."""
        self._pause_polls = 0
