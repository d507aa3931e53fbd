"""What has happened since the release was made: the shopper's events, the items that are gone."""

from __future__ import annotations

from collections.abc import Callable
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
"""For so many what has gone is remembered: the one that answers, and those of experiments beside it."""

NOTHING: Final[tuple[int, frozenset[str]]] = (-1, frozenset())


class LiveItems:
    """Asks for the version of the last change before each list, and for the items only where it has moved."""

    def __init__(self, changes: ItemChanges) -> None:
        self._changes = changes
        self._known: dict[str, tuple[int, frozenset[str]]] = {}
        """By release: a version, and what had gone by then; replaced whole, as several threads read it."""

    def last_gone(self, manifest: Manifest) -> frozenset[str]:
        """As `gone` said last of this release."""
        return self._known.get(manifest.release_id, NOTHING)[1]

    def gone(self, manifest: Manifest) -> frozenset[str]:
        """Ids of items that no list may hold, whatever the release says. Raises StoreError where the database cannot
        be read."""
        is_its_own = manifest.live.database_id == self._changes.database.id
        in_release = manifest.live.item_version if is_its_own else 0
        version = self._changes.version()
        known_version, gone = self._known.get(manifest.release_id, NOTHING)
        if known_version != version:
            gone = self._changes.unavailable_ids(in_release)
            others = [one for one in self._known.items() if one[0] != manifest.release_id]
            self._known = dict([*others[-MAX_RELEASES + 1 :], (manifest.release_id, (version, gone))])
        return gone


RequestT = TypeVar("RequestT", bound=RecommendRequest)


class RecentEvents:
    """The shopper's last events; limit: how many at most."""

    def __init__(self, events: EventLog, limit: int) -> None:
        self._events = events
        self._limit = limit

    def of(self, user_id: str | None, manifest: Manifest) -> list[RecentEvent]:
        """Those that the release does not know, oldest first; none of a guest. Raises StoreError where the log cannot
        be read."""
        if user_id is None or self._limit == 0:
            return []
        is_its_own = manifest.live.database_id == self._events.database.id
        after = manifest.live.event_seq if is_its_own else 0
        return self._events.recent(user_id, after, manifest.as_of, self._limit)


def after_events(request: RequestT, recent: list[RecentEvent]) -> RequestT:
    """The request, its session preceded by the events."""
    if not recent:
        return request
    session = (*_as_session(recent, request.session), *request.session)
    return request.model_copy(update={"session": session})


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


R = TypeVar("R")


class LiveContext:
    """Reads a live database for requests; where that fails they are answered without it.

    is_quick: a read takes less than changing over to a thread would.
    """

    def __init__(self, database: LiveDatabase, settings: Settings, reader: LiveReader | None = None) -> None:
        self._reader = reader or LiveReader()
        self.is_quick = database.is_local
        self._recent = RecentEvents(EventLog(database), settings.serve.recent_events)
        self._items = LiveItems(ItemChanges(database))

    async def of(self, request: RequestT, manifest: Manifest) -> tuple[RequestT, frozenset[str]]:
        """The request with what its shopper has done since, and `gone`."""
        found = await self.of_then(request, manifest, lambda known, gone: (known, gone))
        return (request, self.last_gone(manifest)) if found is None else found

    def of_now(self, request: RequestT, manifest: Manifest) -> tuple[RequestT, frozenset[str]]:
        """`of`, in this thread and without waiting for one; where `is_quick`."""
        read = self._reader.read_now(lambda: self._read(request.user_id, manifest))
        return (request, self.last_gone(manifest)) if read is None else (after_events(request, read[0]), read[1])

    async def of_then(
        self, request: RequestT, manifest: Manifest, then: Callable[[RequestT, frozenset[str]], R]
    ) -> R | None:
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
