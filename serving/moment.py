"""What has happened since the release was made: the shopper's events, the items that are gone."""

from __future__ import annotations

from features.event_log import EventLog
from features.item_changes import ItemChanges
from features.live_database import LiveDatabase
from features.manifest import Manifest
from recsys.config import Settings
from serving.live_items import LiveItems
from serving.live_reader import LiveReader
from serving.recent_events import Asked, RecentEvents


class Moment:
    """Reads a live database for requests; where that fails they are answered without it."""

    def __init__(self, database: LiveDatabase, settings: Settings) -> None:
        self._reader = LiveReader()
        self._recent = RecentEvents(EventLog(database), settings.serve.recent_events, self._reader)
        self._items = LiveItems(ItemChanges(database), self._reader)

    async def of(self, request: Asked, manifest: Manifest) -> tuple[Asked, frozenset[str]]:
        """The request with what its shopper has done since, and `gone`."""
        return await self._recent.before(request, manifest), await self.gone(manifest)

    async def gone(self, manifest: Manifest) -> frozenset[str]:
        """Ids of items that no list may hold."""
        return await self._items.gone(manifest)

    def close(self) -> None:
        """Return when nothing is read any more."""
        self._reader.close()
