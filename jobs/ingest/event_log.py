"""New events of the service's log into the lake, through the same checks as files.

`lake/event_log.json` holds the offset up to which the log has been read. It is written after the lake's commit: a run
that is killed between the two reads the same events again, and known events change nothing.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from features.live.event_log import EventLog
from features.store.manifest import LivePosition
from features.workspace.erased_users import ErasedUsers, read_erased
from features.workspace.user_ids import UserIds
from jobs.ingest.commit import RangeTaken, commit_ingest
from jobs.ingest.offsets import EVENTS_READ
from jobs.ingest.persons import mask_texts
from jobs.ingest.quarantine import QuarantineFile, as_given
from jobs.ingest.report import TableReport
from jobs.ingest.validation import check_rows, of_erased, of_erased_addresses
from jobs.lake.aliases import AliasMap
from jobs.lake.lake import Lake
from jobs.lake.merge import merge_table
from jobs.lake.staging import Staging
from jobs.lake.writer_lease import hold_lake
from recsys.config import IngestSettings
from recsys.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogReport:
    """What one run took from the log, and the offset up to which the lake now holds it."""

    events: TableReport
    position: LivePosition


@dataclass
class _Count:
    n_read: int = 0
    n_bad: int = 0
    erased: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def ingest_log(workspace: Workspace, events: EventLog, settings: IngestSettings, now: datetime) -> LogReport:
    """Take new events of the log into the lake.

    Events of erased shoppers are deleted from the log as well, in case a replica stored some before it knew of the
    erasure. Bad rows go to the quarantine; unlike those of a file they never stop a run: the service checks events
    before it stores them, so there are bad rows only where another program writes to the log. Waits for a database
    server that restarts. Raises StoreError where the log cannot be read.
    """
    with hold_lake(workspace.lake, now):
        database_id = events.database.id
        after = EVENTS_READ.read(workspace.lake, database_id)
        # The newest events may have been erased since, or all given up: what was read stays read.
        up_to = max(after, events.database.patiently(events.newest))
        report = _take(workspace, events, after, up_to, settings, now)
        if up_to > after:
            EVENTS_READ.write(workspace.lake, database_id, up_to)
    return LogReport(report, LivePosition(database_id, up_to))


def ingest_log_again(
    workspace: Workspace, events: EventLog, after: int, up_to: int, settings: IngestSettings, now: datetime
) -> TableReport:
    """Take the events with numbers in (after, up_to], whatever was read before; the offset does not change."""
    with hold_lake(workspace.lake, now):
        return _take(workspace, events, after, up_to, settings, now)


def _take(
    workspace: Workspace, events: EventLog, after: int, up_to: int, settings: IngestSettings, now: datetime
) -> TableReport:
    started = time.perf_counter()
    erased, user_ids = read_erased(workspace), UserIds.find(workspace)
    count = _Count()
    lake = Lake(workspace.lake)
    aliases = AliasMap.read(lake)
    with Staging(workspace.lake / "staging") as staging:
        digest = f"log-{events.database.id}-{after}"
        source = Path(f"{events.database.shown} from event {after + 1}")
        latest = now + timedelta(hours=settings.future_slack_hours)
        with QuarantineFile(workspace.quarantine / "events", source, digest) as quarantine:
            reached = after
            while reached < up_to:
                read = partial(events.batch, reached, up_to, settings.batch_rows)
                rows, numbers = events.database.patiently(read)
                if rows.is_empty():
                    break
                rows = rows.with_columns(aliases.resolve(rows["item_id"]))
                _stage(rows, numbers, latest, erased, user_ids, staging, quarantine, count)
                reached = int(numbers[-1])
        merged = {table: merge_table(lake, staging, table, settings.batch_rows) for table in staging.tables()}
        taken = RangeTaken("events", events.database.id, events.database.shown, after, up_to)
        commit_ingest(lake, staging, merged, taken, now, settings.undo_history)
    if count.erased:
        events.database.patiently(partial(events.remove, count.erased))
    n_erased = count.erased.total()
    n_new = sum(table.n_new for table in merged.values())
    n_known = count.n_read - count.n_bad - n_erased - n_new
    log.info(
        "event_log_ingested read=%d new=%d duplicates=%d bad=%d erased=%d seconds=%.2f",
        *(count.n_read, n_new, n_known, count.n_bad, n_erased, time.perf_counter() - started),
    )
    reasons = dict(count.reasons.most_common())
    return TableReport("events", count.n_read, n_new, 0, n_known, count.n_bad, reasons, n_erased)


def _stage(
    rows: pl.DataFrame,
    numbers: pl.Series,
    latest: datetime,
    erased: ErasedUsers,
    user_ids: UserIds | None,
    staging: Staging,
    quarantine: QuarantineFile,
    count: _Count,
) -> None:
    plain = rows["user_id"]
    if user_ids is not None:
        rows = rows.with_columns(user_ids.pseudonyms(plain))
    is_erased = of_erased(rows, erased) | of_erased_addresses(plain, erased)
    count.n_read += rows.height
    if is_erased.any():
        count.erased.update(plain.filter(is_erased))  # as the log names them
        rows, numbers = rows.filter(~is_erased), numbers.filter(~is_erased)
    rows = rows.with_columns(mask_texts(rows["text"]))
    checked = check_rows("events", rows.with_columns(unreadable=pl.lit("")), latest)
    staging.add("events", checked.good)
    bad = list(checked.bad_rows)
    quarantine.add(numbers.gather(bad).to_list(), list(checked.bad_rules), as_given(rows[bad]))
    count.n_bad += len(bad)
    count.reasons.update(rule for broken_rules in checked.bad_rules for rule in broken_rules.split(", "))
