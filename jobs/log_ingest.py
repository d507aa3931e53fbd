"""The event log into the lake: what was stored since the last night passes the checks that files pass.

`lake/event_log.json` says how far the log has been read. It is written after the lake's commit: a night that dies
between the two reads the same events again, and events that are known change nothing.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from features.durable import write_atomically
from features.erased_users import ErasedUsers, read_erased
from features.event_log import EventLog
from features.lease import hold_lease
from features.manifest import LivePosition
from jobs.checking import check_rows
from jobs.ingest import LEASE, LEASE_MINUTES, TableReport
from jobs.kept_out import of_erased
from jobs.lake import Lake
from jobs.merge import merge_table
from jobs.quarantine import QuarantineFile, as_given
from jobs.staging import Staging
from recsys.config import Ingest
from recsys.errors import DataError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

POSITION_FILE: Final = "event_log.json"


@dataclass(frozen=True)
class LogReport:
    """What one night took from the log, and the position up to which the lake now holds it."""

    events: TableReport
    position: LivePosition


@dataclass
class _Count:
    n_read: int = 0
    n_bad: int = 0
    erased: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def ingest_log(workspace: Workspace, events: EventLog, settings: Ingest, now: datetime) -> LogReport:
    """Take what the log has gained into the lake.

    Events of shoppers who were erased leave the log, too, should a replica have stored any before it knew. Bad rows go
    to the quarantine and, other than a file's, never stop a night: events are checked when they are
    stored, so only a log that others write to has any. Raises StoreError where the log cannot be read.
    """
    started = time.perf_counter()
    kept_out = read_erased(workspace)
    with hold_lease(workspace.lake / LEASE, now, LEASE_MINUTES):
        path = workspace.lake / POSITION_FILE
        after = _read_position(path, events.database.id)
        up_to = events.newest()
        count = _Count()
        lake = Lake(workspace.lake)
        with Staging(workspace.lake / "staging") as staging:
            digest = f"log-{events.database.id}-{after}"
            source = Path(f"{events.database.shown} from event {after + 1}")
            latest = now + timedelta(hours=settings.future_slack_hours)
            with QuarantineFile(workspace.quarantine / "events", source, digest) as quarantine:
                reached = after
                while reached < up_to:
                    rows, numbers = events.batch(reached, up_to, settings.batch_rows)
                    if rows.is_empty():
                        break
                    _stage(rows, numbers, latest, kept_out, staging, quarantine, count)
                    reached = int(numbers[-1])
            merged = merge_table(lake, staging, "events", settings.batch_rows) if staging.tables() else None
            if merged and merged.files:
                lake.commit(merged.files)
        if up_to > after:
            content = {"version": 1, "database_id": events.database.id, "event_seq": up_to}
            write_atomically(path, json.dumps(content).encode())
    if count.erased:
        events.remove(count.erased)
    n_erased = count.erased.total()
    n_new = merged.n_new if merged else 0
    n_known = count.n_read - count.n_bad - n_erased - n_new
    log.info(
        "event_log_ingested read=%d new=%d duplicates=%d bad=%d erased=%d seconds=%.2f",
        *(count.n_read, n_new, n_known, count.n_bad, n_erased, time.perf_counter() - started),
    )
    reasons = dict(count.reasons.most_common())
    report = TableReport("events", count.n_read, n_new, 0, n_known, count.n_bad, reasons, n_erased)
    return LogReport(report, LivePosition(events.database.id, up_to))


def _stage(
    rows: pl.DataFrame,
    numbers: pl.Series,
    latest: datetime,
    kept_out: ErasedUsers,
    staging: Staging,
    quarantine: QuarantineFile,
    count: _Count,
) -> None:
    theirs = of_erased(rows, kept_out)
    count.n_read += rows.height
    if theirs.any():
        count.erased.update(rows["user_id"].filter(theirs))
        rows, numbers = rows.filter(~theirs), numbers.filter(~theirs)
    checked = check_rows("events", rows.with_columns(unreadable=pl.lit("")), latest)
    staging.add("events", checked.good)
    bad = list(checked.bad_rows)
    quarantine.add(numbers.gather(bad).to_list(), list(checked.bad_rules), as_given(rows[bad]))
    count.n_bad += len(bad)
    count.reasons.update(rule for said in checked.bad_rules for rule in said.split(", "))


def _read_position(path: Path, database_id: str) -> int:
    """Where the last night stopped in this very log, 0 in another. Raises DataError where the file is damaged."""
    try:
        position = json.loads(path.read_bytes())
        return int(position["event_seq"]) if position["database_id"] == database_id else 0
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: damaged position in the event log ({error}); remove it, and the whole log is read again"
        ) from None
