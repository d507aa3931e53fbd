"""What has happened since the release was made: the shopper's events, the items that are gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from features.live.database import LiveDatabase
from features.live.event_log import EventLog, RecentEvent
from features.live.item_changes import ItemChanges
from features.store.manifest import Manifest
from recsys.config import Settings
from serving.live_items import LiveItems
from serving.live_reader import LiveReader
from serving.recent_events import Asked, RecentEvents, after_events
from serving.tracing import note, span

R = TypeVar("R")


class Moment:
    """Reads a live database for requests; where that fails they are answered without it.

    is_quick: a read takes less than changing over to a thread would.
    """

    def __init__(self, database: LiveDatabase, settings: Settings, reader: LiveReader | None = None) -> None:
        self._reader = reader or LiveReader()
        self.is_quick = database.is_local
        self._recent = RecentEvents(EventLog(database), settings.serve.recent_events)
        self._items = LiveItems(ItemChanges(database))

    async def of(self, request: Asked, manifest: Manifest) -> tuple[Asked, frozenset[str]]:
        """The request with what its shopper has done since, and `gone`."""
        found = await self.of_then(request, manifest, lambda known, gone: (known, gone))
        return (request, self.last_gone(manifest)) if found is None else found

    def of_now(self, request: Asked, manifest: Manifest) -> tuple[Asked, frozenset[str]]:
        """`of`, in this thread and without waiting for one; where `is_quick`."""
        read = self._reader.read_now(lambda: self._read(request.user_id, manifest))
        return (request, self.last_gone(manifest)) if read is None else (after_events(request, read[0]), read[1])

    async def of_then(self, request: Asked, manifest: Manifest, then: Callable[[Asked, frozenset[str]], R]) -> R | None:
        """What `then` makes of both, in the thread that has read them; None where they cannot be read."""
        return await self._reader.read_then(
            lambda: self._read(request.user_id, manifest), lambda read: then(after_events(request, read[0]), read[1])
        )

    def last_gone(self, manifest: Manifest) -> frozenset[str]:
        """As `gone` said last."""
        return self._items.last_gone(manifest)

    async def gone(self, manifest: Manifest) -> frozenset[str]:
        """Ids of items that no list may hold; the last known ones where the database cannot be read."""
        with span("read the moment") as told:
            read = await self._reader.read(lambda: self._items.gone(manifest))
            gone = self.last_gone(manifest) if read is None else read
            note(told, items_gone=len(gone))
        return gone

    def _read(self, user_id: str | None, manifest: Manifest) -> tuple[list[RecentEvent], frozenset[str]]:
        with span("read the moment") as told:
            recent, gone = self._recent.of(user_id, manifest), self._items.gone(manifest)
            note(told, recent_events=len(recent), items_gone=len(gone))
        return recent, gone

    def close(self) -> None:
        """Return when nothing is read any more."""
        self._reader.close()
