"""A thread that looks again and again, until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable


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
