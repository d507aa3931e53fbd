"""What the shopper did since the release was made, read from the event log before each list."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

from features.event_log import EventLog, RecentEvent
from features.manifest import Manifest
from recsys.errors import StoreError
from serving.contract import RecommendRequest, SessionEvent, kind_of

log = logging.getLogger(__name__)

READERS: Final = 4
TIMEOUT_S: Final = 0.25
"""A list does not wait longer for the log; SQLite answers in a tenth of a millisecond."""

PAUSE_S: Final = 1.0
"""After a failure the log is left alone so long, that a broken one does not delay every list."""

LOGGED_EVERY_S: Final = 60.0


class RecentEvents:
    """Reads the log in threads of its own: the event loop waits neither for a disk nor for a network.

    clock: seconds that only grow.
    """

    def __init__(self, events: EventLog, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._limit = limit
        self._clock = clock
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="event-reader")
        self._paused_until = -PAUSE_S
        self._logged_at = -LOGGED_EVERY_S

    async def before(self, request: RecommendRequest, manifest: Manifest) -> RecommendRequest:
        """The request, its session preceded by what its shopper did and the release does not know.

        As it came where the log cannot be read: an old list is better than none.
        """
        if request.user_id is None or self._limit == 0 or self._clock() < self._paused_until:
            return request
        try:
            loop = asyncio.get_running_loop()
            reading = loop.run_in_executor(self._threads, self._read, request.user_id, manifest)
            recent = await asyncio.wait_for(reading, TIMEOUT_S)
        except (StoreError, TimeoutError) as error:
            self._note_failure(error)
            return request
        if not recent:
            return request
        session = (*_as_session(recent, request.session), *request.session)
        return request.model_copy(update={"session": session})

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)

    def _read(self, user_id: str, manifest: Manifest) -> list[RecentEvent]:
        is_its_own = manifest.live.database_id == self._events.database.id
        after = manifest.live.event_seq if is_its_own else 0
        return self._events.recent(user_id, after, manifest.as_of, self._limit)

    def _note_failure(self, error: Exception) -> None:
        now = self._clock()
        self._paused_until = now + PAUSE_S
        if now >= self._logged_at + LOGGED_EVERY_S:
            self._logged_at = now
            log.warning("event log not read, lists go without recent events error=%s", error or "timed out")


def _as_session(recent: list[RecentEvent], session: tuple[SessionEvent, ...]) -> list[SessionEvent]:
    """The recent events without those that the request tells again: a storefront may send both, and one purchase must
    not count as two."""
    told = {(event.item_id, kind_of(event), event.text): event.timestamp for event in session}

    def is_told(event: RecentEvent) -> bool:
        key = (event.item_id, event.event_type, event.text)
        at: datetime | None = told.get(key)
        return key in told and (at is None or at == event.timestamp)

    # Checked when they were stored: validating them again would cost more than reading them.
    return [
        SessionEvent.model_construct(
            item_id=event.item_id,
            text=event.text,
            event_type=event.event_type,
            timestamp=event.timestamp,
            value=event.value,
        )
        for event in recent
        if not is_told(event)
    ]
