"""Reads from the live database for a request that is waiting: off the event loop, for a moment at most."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from recsys.errors import StoreError

log = logging.getLogger(__name__)

THREADS: Final = 4
TIMEOUT_S: Final = 0.25
"""A list does not wait longer; SQLite answers in a tenth of a millisecond."""

PAUSE_S: Final = 1.0
"""After a failure the database is left alone so long, that a broken one does not delay every list."""

LOGGED_EVERY_S: Final = 60.0

T = TypeVar("T")


class LiveReader:
    """Threads of its own: the event loop waits neither for a disk nor for a network.

    clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="live-reader")
        self._paused_until = -PAUSE_S
        self._logged_at = -LOGGED_EVERY_S

    async def read(self, call: Callable[[], T]) -> T | None:
        """What `call` answers; None where the database fails or is slow: an old list is better than none."""
        if self._clock() < self._paused_until:
            return None
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(self._threads, call), TIMEOUT_S)
        except (StoreError, TimeoutError) as error:
            self._note_failure(error)
            return None

    def close(self) -> None:
        """Return when the reads under way have ended, those that nobody waits for any more among them."""
        self._threads.shutdown()

    def _note_failure(self, error: Exception) -> None:
        now = self._clock()
        self._paused_until = now + PAUSE_S
        if now >= self._logged_at + LOGGED_EVERY_S:
            self._logged_at = now
            log.warning("live database not read, lists go without it error=%s", str(error) or "timed out")
