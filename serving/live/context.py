"""Live data: what has happened since the release was published, the shopper's events and unavailable items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from features.live.database import LiveDatabase
from features.live.event_log import EventLog, RecentEvent
from features.live.item_changes import ItemChanges
from features.store.manifest import Manifest
from recsys.config import Settings
from serving.live.reader import LiveReader
from serving.schemas.lists import RecommendRequest, SessionEvent, kind_of
from serving.telemetry.tracing import note, span

MAX_RELEASES: Final = 8
"""Releases whose unavailable items are cached: the one that answers, and those of experiments."""

NOTHING: Final[tuple[int, frozenset[str]]] = (-1, frozenset())


class LiveItems:
    """Reads the version of the last item change before each list, and the items only where the version has changed."""

    def __init__(self, changes: ItemChanges) -> None:
        self._changes = changes
        self._known: dict[str, tuple[int, frozenset[str]]] = {}
        """By release: a version, and the unavailable items of that version. Replaced, not changed: several threads read
        it."""

    def last_unavailable_ids(self, manifest: Manifest) -> frozenset[str]:
        """What `unavailable_ids` returned last for this release; nothing before its first call."""
        return self._known.get(manifest.release_id, NOTHING)[1]

    def unavailable_ids(self, manifest: Manifest) -> frozenset[str]:
        """Ids of items that no list may hold, whatever the release says. Raises StoreError where the database cannot
        be read."""
        is_same_database = manifest.log_offset.database_id == self._changes.database.id
        in_release = manifest.log_offset.item_version if is_same_database else 0
        version = self._changes.version()
        known_version, item_ids = self._known.get(manifest.release_id, NOTHING)
        if known_version != version:
            item_ids = self._changes.unavailable_ids(in_release)
            others = [entry for entry in self._known.items() if entry[0] != manifest.release_id]
            self._known = dict([*others[-MAX_RELEASES + 1 :], (manifest.release_id, (version, item_ids))])
        return item_ids


RequestT = TypeVar("RequestT", bound=RecommendRequest)
R = TypeVar("R")


@dataclass(frozen=True)
class LiveData:
    """recent_events: of the shopper, oldest first; unavailable_ids: items that no list may hold."""

    recent_events: list[RecentEvent]
    unavailable_ids: frozenset[str]


class RecentEvents:
    """Reads a shopper's last events; limit: how many at most."""

    def __init__(self, events: EventLog, limit: int) -> None:
        self._events = events
        self._limit = limit

    def of(self, user_id: str | None, manifest: Manifest) -> list[RecentEvent]:
        """Events that the release does not include, oldest first; none for a guest. Raises StoreError where the log
        cannot be read."""
        if user_id is None or self._limit == 0:
            return []
        is_same_database = manifest.log_offset.database_id == self._events.database.id
        after = manifest.log_offset.event_seq if is_same_database else 0
        return self._events.recent(user_id, after, manifest.as_of, self._limit)


def after_events(request: RequestT, recent: list[RecentEvent]) -> RequestT:
    """The request with the events in front of its session."""
    if not recent:
        return request
    session = (*_as_session(recent, request.session), *request.session)
    return request.model_copy(update={"session": session})


def _as_session(recent: list[RecentEvent], session: tuple[SessionEvent, ...]) -> list[SessionEvent]:
    """The recent events without those that are in the session, too: a storefront may send an event both ways, and one
    purchase must not count twice."""
    times = {(event.item_id, kind_of(event), event.text): event.timestamp for event in session}

    def is_in_session(event: RecentEvent) -> bool:
        key = (event.item_id, event.event_type, event.text)
        at: datetime | None = times.get(key)
        return key in times and (at is None or at == event.timestamp)

    # Validated when they were stored: validating them again would cost more than reading them.
    return [
        SessionEvent.model_construct(
            item_id=event.item_id,
            text=event.text,
            event_type=event.event_type,
            timestamp=event.timestamp,
            value=event.value,
        )
        for event in recent
        if not is_in_session(event)
    ]


class LiveContext:
    """Reads what has happened since the release was published, for one request at a time.

    reads_in_thread: whether the database is remote, so that it is read in threads; see `LiveReader`.
    """

    def __init__(self, database: LiveDatabase, settings: Settings, reader: LiveReader | None = None) -> None:
        self.reads_in_thread = not database.is_local
        self._reader = reader or LiveReader(in_thread=self.reads_in_thread)
        self._recent = RecentEvents(EventLog(database), settings.serve.recent_events)
        self._items = LiveItems(ItemChanges(database))

    async def read(
        self, request: RequestT, manifest: Manifest, then: Callable[[RequestT, frozenset[str]], R]
    ) -> R | None:
        """What `then` returns for the request, its session preceded by the shopper's recent events, and the ids of
        unavailable items. None where these cannot be read. `then` runs where the database is read."""
        return await self._reader.read(
            lambda: self._read(request.user_id, manifest),
            lambda live: then(after_events(request, live.recent_events), live.unavailable_ids),
        )

    async def unavailable_ids(self, manifest: Manifest) -> frozenset[str]:
        """Ids of items that no list may hold; as last read where the database cannot be read."""
        with span("read live data") as read_span:
            read = await self._reader.read(lambda: self._items.unavailable_ids(manifest), lambda item_ids: item_ids)
            item_ids = self.last_unavailable_ids(manifest) if read is None else read
            note(read_span, unavailable_items=len(item_ids))
        return item_ids

    def last_unavailable_ids(self, manifest: Manifest) -> frozenset[str]:
        """The ids of unavailable items as last read."""
        return self._items.last_unavailable_ids(manifest)

    def close(self) -> None:
        """Return when the reads under way have ended."""
        self._reader.close()

    def _read(self, user_id: str | None, manifest: Manifest) -> LiveData:
        with span("read live data") as read_span:
            live = LiveData(self._recent.of(user_id, manifest), self._items.unavailable_ids(manifest))
            note(read_span, recent_events=len(live.recent_events), unavailable_items=len(live.unavailable_ids))
        return live
