"""A thread that looks again and again, until it is told to stop."""

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


LONGEST_PAUSE_POLLS: Final = 64


class Poller:
    """Calls `poll` every `pause_s` seconds; what that returns does not matter, and it must not raise."""

    def __init__(self, poll: Callable[[], object], pause_s: float, name: str) -> None:
        self._poll = poll
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Once only; the thread ends with the process."""
        self._thread.start()

    def close(self) -> None:
        """Return when the last call has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            self._poll()


class Watch(ABC):
    """Looks every `poll_s` seconds, in a thread of its own, from `start` to `close`, and holds what it saw last."""

    def __init__(self, poll_s: float, name: str) -> None:
        self._poller = Poller(self.poll, poll_s, name)

    @abstractmethod
    def poll(self) -> object:
        """Look once. Whatever goes wrong, it must not raise: the thread must live on."""

    def start(self) -> None:
        """Look again and again from now on."""
        self._poller.start()

    def close(self) -> None:
        """Look no more; what was seen last stays."""
        self._poller.close()


class Pauses:
    """Which calls to leave out after failures, twice as many each time: what is arriving mends itself, and what is
    damaged must not eat the machine."""

    def __init__(self) -> None:
        self._pause = 0
        self._left = 0

    def skip(self) -> bool:
        """Whether to leave this call out, which counts as one."""
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def failed(self) -> None:
        """Leave the next calls out."""
        self._pause = min(max(1, 2 * self._pause), LONGEST_PAUSE_POLLS)
        self._left = self._pause

    def succeeded(self) -> None:
        """Begin anew with one call at the next failure."""
        self._pause = 0
