"""Reads from the live database for a request that is waiting: off the event loop, for a moment at most."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
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
R = TypeVar("R")


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
        return await self.read_then(call, lambda answer: answer)

    def read_now(self, call: Callable[[], T]) -> T | None:
        """`read` in this thread, for a database that answers from memory: one that was slow is left alone, too."""
        if self._clock() < self._paused_until:
            return None
        start_s = time.perf_counter()
        try:
            answer = call()
        except StoreError as error:
            self._note_failure(error)
            return None
        if time.perf_counter() - start_s > TIMEOUT_S:
            self._note_failure(TimeoutError())
        return answer

    async def read_then(self, call: Callable[[], T], then: Callable[[T], R]) -> R | None:
        """What `then` makes of what `call` answers, in one visit to a thread: changing over twice costs more than the
        read. None where the database fails or is slow; `then` may take its time, and fail as it likes."""
        if self._clock() < self._paused_until:
            return None
        has_read = threading.Event()

        def both() -> R | StoreError:
            try:
                answer = call()
            except StoreError as error:
                return error
            has_read.set()
            return then(answer)

        visit = asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, both)
        await asyncio.wait({visit}, timeout=TIMEOUT_S)
        if not visit.done() and not has_read.is_set():
            self._note_failure(TimeoutError())
            return None
        found = await visit
        if isinstance(found, StoreError):
            self._note_failure(found)
            return None
        return found

    def close(self) -> None:
        """Return when the reads under way have ended, those that nobody waits for any more among them."""
        self._threads.shutdown()

    def _note_failure(self, error: Exception) -> None:
        now = self._clock()
        self._paused_until = now + PAUSE_S
        if now >= self._logged_at + LOGGED_EVERY_S:
            self._logged_at = now
            log.warning("live database not read, lists go without it error=%s", str(error) or "timed out")
