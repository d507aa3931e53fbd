"""What has happened since the release was made: the shopper's events, the items that are gone."""

from __future__ import annotations

from features.event_log import EventLog, RecentEvent
from features.item_changes import ItemChanges
from features.live_database import LiveDatabase
from features.manifest import Manifest
from recsys.config import Settings
from serving.live_items import LiveItems
from serving.live_reader import LiveReader
from serving.recent_events import Asked, RecentEvents, after_events
from serving.tracing import note, span


class Moment:
    """Reads a live database for requests; where that fails they are answered without it."""

    def __init__(self, database: LiveDatabase, settings: Settings, reader: LiveReader | None = None) -> None:
        self._reader = reader or LiveReader()
        self._recent = RecentEvents(EventLog(database), settings.serve.recent_events)
        self._items = LiveItems(ItemChanges(database))

    async def of(self, request: Asked, manifest: Manifest) -> tuple[Asked, frozenset[str]]:
        """The request with what its shopper has done since, and `gone`."""
        with span("read the moment") as told:
            # Both in one visit to a thread: changing over costs more than either read.
            read = await self._reader.read(lambda: self._read(request.user_id, manifest))
            recent, gone = ([], self._items.last_gone(manifest)) if read is None else read
            note(told, recent_events=len(recent), items_gone=len(gone))
        return after_events(request, recent), gone

    async def gone(self, manifest: Manifest) -> frozenset[str]:
        """Ids of items that no list may hold; the last known ones where the database cannot be read."""
        with span("read the moment") as told:
            read = await self._reader.read(lambda: self._items.gone(manifest))
            gone = self._items.last_gone(manifest) if read is None else read
            note(told, items_gone=len(gone))
        return gone

    def _read(self, user_id: str | None, manifest: Manifest) -> tuple[list[RecentEvent], frozenset[str]]:
        return self._recent.of(user_id, manifest), self._items.gone(manifest)

    def close(self) -> None:
        """Return when nothing is read any more."""
        self._reader.close()
