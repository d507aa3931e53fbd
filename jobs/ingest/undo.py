"""Undo ingests, and repeat those that were undone.

A nightly run does not take undone data again: its files stay noted as seen, and the offset in a log stays after its
events. Both are ensured before the commit, so that a run that is killed in between has changed nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from features.live.database import open_live_database
from features.live.event_log import EventLog
from features.live.item_changes import ItemChanges
from features.workspace.atomic_files import sha256_of
from features.workspace.lake_files import LakeFile
from features.workspace.lease import hold_lease
from jobs.ingest.commit import FilesTaken, RangeTaken, source_of
from jobs.ingest.event_log import ingest_log_again
from jobs.ingest.files import Progress, ingest
from jobs.ingest.item_changes import ingest_items_again
from jobs.ingest.offsets import EVENTS_READ, ITEMS_READ
from jobs.ingest.seen_files import add_seen
from jobs.lake.history import Change, History
from jobs.lake.lake import Lake
from jobs.lake.writer_lease import hold_lake
from recsys.config import Settings
from recsys.errors import DataError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)


def undo(workspace: Workspace, ids: Collection[int], settings: Settings, now: datetime) -> list[Change]:
    """Restore the lake to what it was before these ingests, all of them or none. Returns them, oldest first.

    Raises DataError, with the lake as it was, where an id is unknown, was undone already, or changed partitions that
    later ingests have rows of as well, and where an earlier file is damaged; StoreError where a nightly run or an
    ingest is running.
    """
    with (
        hold_lease(workspace.lease, now, settings.releases.lease_minutes),
        hold_lake(workspace.lake, now),
    ):
        lake = Lake(workspace.lake)
        history = lake.history
        changes = [_undoable(history, change_id, workspace) for change_id in sorted(set(ids))]
        _refuse_with_dependents(history, [change.id for change in changes])
        before = {(file.table, file.partition): file for change in reversed(changes) for file in change.before}
        _check_files(lake, before.values())
        _note_as_seen(workspace, history, changes)
        lake.commit(before.values(), history.without_changes(ids, now, settings.ingest.undo_history))
    log.info("ingests_undone ids=%s partitions=%d", [change.id for change in changes], len(before))
    return changes


def take_again(
    workspace: Workspace, change_id: int, settings: Settings, now: datetime, progress: Progress | None = None
) -> Change | None:
    """Repeat an undone ingest from its files as they are now, or from the live database. Returns the new ingest, None
    where it changed nothing.

    Raises DataError where no undone ingest has that id, and as `ingest` does; StoreError where a nightly run or an
    ingest is running.
    """
    with hold_lease(workspace.lease, now, settings.releases.lease_minutes):
        history = Lake(workspace.lake).history
        change = next((undone for undone in history.undone if undone.id == change_id), None)
        if change is None:
            raise DataError(f"ingest {change_id}: not among the undone ingests; see `recsys ingest history`")
        source = source_of(change)
        if isinstance(source, FilesTaken):
            spec = replace(source.spec, paths=source.paths)
            ingest(workspace, spec, settings.ingest, now, progress, source.spec, settings.serve.events_url)
        else:
            _take_range(workspace, change_id, source, settings, now)
        after = Lake(workspace.lake).history
        return after.changes[-1] if after.last_id > history.last_id else None


def _take_range(workspace: Workspace, change_id: int, source: RangeTaken, settings: Settings, now: datetime) -> None:
    database = open_live_database(workspace, settings.serve.events_url)
    try:
        if not database.exists or database.id != source.database_id:
            raise DataError(
                f"ingest {change_id}: read from another live database than {database.shown}; set serve.events_url to it"
            )
        if source.kind == "events":
            ingest_log_again(workspace, EventLog(database), source.after, source.up_to, settings.ingest, now)
        else:
            ingest_items_again(workspace, ItemChanges(database), source.after, source.up_to, settings.ingest, now)
    finally:
        database.close()


def _undoable(history: History, change_id: int, workspace: Workspace) -> Change:
    for change in history.changes:
        if change.id == change_id:
            return change
    for change in history.undone:
        if change.id == change_id:
            raise DataError(
                f"ingest {change_id}: already undone at {change.undone_at:%Y-%m-%d %H:%M} UTC; "
                f"`recsys ingest again {change_id}` repeats it"
            )
    known = ", ".join(str(change.id) for change in history.changes) or "none"
    raise DataError(
        f"ingest {change_id}: not among the ingests of {workspace.lake} that can be undone ({known}); the last "
        "ingest.undo_history can be undone, until a shopper is erased; see `recsys ingest history`"
    )


def _refuse_with_dependents(history: History, ids: list[int]) -> None:
    rest = history.with_later(ids).difference(ids)
    if rest:
        later = next(change for change in history.changes if change.id in rest)
        earlier = [change for change in history.changes if change.id in ids and change.id < later.id]
        changed = {key: change.id for change in earlier for key in change.changed}
        table, partition = min(later.touched.intersection(changed))
        order = " ".join(str(change_id) for change_id in sorted({*ids, *rest}, reverse=True))
        raise DataError(
            f"ingest {changed[table, partition]}: ingest {later.id} came later and changed the same part of the "
            f"lake, {table}{f'/{partition}' if partition else ''}; undo both with `recsys ingest undo {order}`, then "
            f"run `recsys ingest again {later.id}`"
        )


def _check_files(lake: Lake, files: Iterable[LakeFile]) -> None:
    for file in files:
        path = lake.root / file.path
        if file.rows and not (path.is_file() and sha256_of(path) == file.digest):
            raise DataError(f"{path}: needed for the undo, but missing or damaged; restore it; nothing was undone")


def _note_as_seen(workspace: Workspace, history: History, changes: list[Change]) -> None:
    """A run that was killed between its commit and its note of what it took has left no note: write it now."""
    for change in changes:
        source = source_of(change)
        if isinstance(source, FilesTaken):
            later = {path for later_change in _after(history, change) for path in _paths(later_change)}
            files = [file for file in source.files if file.path not in later]
            add_seen(workspace.lake, source.spec, files)
            continue
        position = EVENTS_READ if source.kind == "events" else ITEMS_READ
        if position.read(workspace.lake, source.database_id) < source.up_to:
            position.write(workspace.lake, source.database_id, source.up_to)


def _after(history: History, change: Change) -> list[Change]:
    return [other for other in (*history.changes, *history.undone) if other.id > change.id]


def _paths(change: Change) -> list[str]:
    source = source_of(change)
    return [file.path for file in source.files] if isinstance(source, FilesTaken) else []
