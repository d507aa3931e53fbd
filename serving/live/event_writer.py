"""Writes events to the disk with group commit: events that arrive during a transaction share the next one."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

from features.live.event_log import EventLog, LoggedEvent

log = logging.getLogger(__name__)

GROUP_EVENTS: Final = 5_000
"""A transaction takes no further request once it holds so many events."""


@dataclass(frozen=True)
class _Request:
    events: Sequence[LoggedEvent]
    done: Future[dict[int, str]]


class EventWriter:
    """One thread stores the events of all requests under way.

    A flush to the disk takes milliseconds, however much it writes; the event loop never waits for it.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._waiting: SimpleQueue[_Request | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="event-writer", daemon=True)
        self._thread.start()

    async def append(self, events: Sequence[LoggedEvent]) -> dict[int, str]:
        """Return when the events are on the disk: the ids of those, by place, whose own id another event has. Raises
        StoreError where they could not be stored."""
        done: Future[dict[int, str]] = Future()
        self._waiting.put(_Request(events, done))
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Return when all appended events are stored; `append` must not be called any more."""
        self._waiting.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, ended = self._group(first)
            self._write(group)
            if ended:
                return

    def _group(self, first: _Request) -> tuple[list[_Request], bool]:
        """The request with those that wait behind it, and whether `close` was called after them."""
        group, n_events = [first], len(first.events)
        while n_events < GROUP_EVENTS:
            try:
                following = self._waiting.get_nowait()
            except Empty:
                break
            if following is None:
                return group, True
            group.append(following)
            n_events += len(following.events)
        return group, False

    def _write(self, group: list[_Request]) -> None:
        # A request that was cancelled meanwhile got no response, so its events need not be stored.
        group = [request for request in group if request.done.set_running_or_notify_cancel()]
        try:
            renamed = self._events.append([event for request in group for event in request.events])
        except Exception as error:
            # Whatever the error, the requests must be answered and the thread must go on.
            log.error("events not stored requests=%d error=%s", len(group), error)
            for request in group:
                request.done.set_exception(error)
            return
        start = 0
        for request in group:
            places = range(start, start + len(request.events))
            request.done.set_result({place - start: renamed[place] for place in places if place in renamed})
            start += len(request.events)
