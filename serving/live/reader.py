"""Reads from the live database on behalf of a request, with a time limit and a circuit breaker."""

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
"""A list does not wait longer for a database; SQLite answers in a tenth of a millisecond."""

PAUSE_S: Final = 1.0
"""After a failure the database is not read for so long, so that a broken one does not delay every list."""

LOGGED_EVERY_S: Final = 60.0

T = TypeVar("T")
R = TypeVar("R")


class LiveReader:
    """Reads that fail, or take longer than `TIMEOUT_S`, count as absent: a list without live data is better than none.

    in_thread: True for a database on another machine, for which the event loop must not wait; False for a local one,
    where changing over to a thread would cost more than the read. clock: seconds that only grow.
    """

    def __init__(self, *, in_thread: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._in_thread = in_thread
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="live-reader")
        self._paused_until = -PAUSE_S
        self._logged_at = -LOGGED_EVERY_S

    async def read(self, call: Callable[[], T], then: Callable[[T], R]) -> R | None:
        """What `then` returns for the result of `call`; None where the database fails, is slow, or failed just before.

        Both run in one visit to the place where this database is read: a second visit would cost more than the read.
        `then` may take its time; its errors are raised and do not count as failures of the database.
        """
        if self._clock() < self._paused_until:
            return None
        return await self._in_one_visit(call, then) if self._in_thread else self._on_event_loop(call, then)

    def close(self) -> None:
        """Return when the reads under way have ended, those that were given up included."""
        self._threads.shutdown()

    def _on_event_loop(self, call: Callable[[], T], then: Callable[[T], R]) -> R | None:
        start_s = time.perf_counter()
        try:
            result = call()
        except StoreError as error:
            self._note_failure(error)
            return None
        if time.perf_counter() - start_s > TIMEOUT_S:
            self._note_failure(TimeoutError())  # this result is there, but the next reads would wait as long
        return then(result)

    async def _in_one_visit(self, call: Callable[[], T], then: Callable[[T], R]) -> R | None:
        has_read = threading.Event()

        def read() -> R | StoreError:
            try:
                result = call()
            except StoreError as error:
                return error
            has_read.set()
            return then(result)

        visit = asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, read)
        await asyncio.wait({visit}, timeout=TIMEOUT_S)
        if not visit.done() and not has_read.is_set():
            self._note_failure(TimeoutError())
            return None
        outcome = await visit
        if isinstance(outcome, StoreError):
            self._note_failure(outcome)
            return None
        return outcome

    def _note_failure(self, error: Exception) -> None:
        now = self._clock()
        self._paused_until = now + PAUSE_S
        if now >= self._logged_at + LOGGED_EVERY_S:
            self._logged_at = now
            log.warning("live database not read, lists go without it error=%s", str(error) or "timed out")
