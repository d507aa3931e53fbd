"""What the lake has leaves the live database after `serve.keep_events_days`.

The nightly run does this, not the service: it alone knows what the lake has taken and which releases there are, it runs
once however many replicas there are, and its pauses cost no shopper anything.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from features.live.database import LiveDatabase
from features.live.event_log import EventLog
from features.live.item_changes import ItemChanges
from features.store.store import Store
from jobs.ingest.commit import RangeTaken, source_of
from jobs.ingest.offsets import EVENTS_READ, ITEMS_READ
from jobs.lake.lake import Lake
from recsys.config import Settings
from recsys.errors import StoreError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Disposable:
    """What nobody reads any more: events up to number `event_seq` and changes up to `item_version`, both from before
    `before`."""

    event_seq: int
    item_version: int
    before: datetime


def give_up(workspace: Workspace, database: LiveDatabase, settings: Settings, now: datetime) -> int:
    """Delete old events and item changes from the live database and return their space to the disk; how many events
    there were. A database that cannot be written is no reason to end a night: that is logged."""
    disposable = disposable_rows(workspace, database, settings, now)
    try:
        n_events = EventLog(database).prune(disposable.event_seq, disposable.before)
        n_items = ItemChanges(database).prune(disposable.item_version, disposable.before)
        n_bytes = database.give_back() if n_events or n_items else 0
    except StoreError as error:
        log.warning("live_database_not_pruned reason=%r", str(error))
        return 0
    log.info("live_database_pruned events=%d item_changes=%d bytes=%d", n_events, n_items, n_bytes)
    return n_events


def disposable_rows(workspace: Workspace, database: LiveDatabase, settings: Settings, now: datetime) -> Disposable:
    """Of the lake's own: what every kept release includes, so that a rollback and its lists miss nothing, and what no
    ingest took that can still be undone, or was undone and can be repeated: that reads the live database again."""
    before = now - timedelta(days=settings.serve.keep_events_days)
    event_seq = EVENTS_READ.read(workspace.lake, database.id)
    item_version = ITEMS_READ.read(workspace.lake, database.id)
    for manifest in Store(workspace).releases():
        position = manifest.log_offset
        is_same = position.database_id == database.id
        event_seq = min(event_seq, position.event_seq if is_same else 0)
        item_version = min(item_version, position.item_version if is_same else 0)
        before = min(before, manifest.as_of)  # lists read what happened since, whatever its number
    history = Lake(workspace.lake).history
    for change in (*history.changes, *history.undone):
        source = source_of(change)
        if not isinstance(source, RangeTaken) or source.database_id != database.id:
            continue
        if source.kind == "events":
            event_seq = min(event_seq, source.after)
        else:
            item_version = min(item_version, source.after)
    return Disposable(event_seq, item_version, before)
