"""What the shopper did since the release was made, read from the event log before each list."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from features.live.event_log import EventLog, RecentEvent
from features.store.manifest import Manifest
from serving.contract import RecommendRequest, SessionEvent, kind_of

Asked = TypeVar("Asked", bound=RecommendRequest)


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


def after_events(request: Asked, recent: list[RecentEvent]) -> Asked:
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
