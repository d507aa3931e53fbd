"""Ingest: files of a source are read, cast, checked, and merged into the lake in one commit.

    raw batch -> cast -> check -> good rows -> staging -> merge by partition -> commit
                              -> bad rows  -> quarantine

Ingesting the same rows again, in a renamed or overlapping file, changes nothing. A run with too many bad rows is
refused, and the lake stays as it was.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from features.workspace.erased_users import ErasedUsers, read_erased
from features.workspace.lease import hold_lease
from jobs.ingest.column_mapping import Naming, name_columns
from jobs.ingest.commit import FilesTaken, commit_ingest
from jobs.ingest.parsing import cast_rows
from jobs.ingest.quarantine import QuarantineFile, as_given
from jobs.ingest.seen_files import FileDigests, add_seen, load_seen
from jobs.ingest.sources import SOURCES
from jobs.ingest.sources.files import RawBatch, RawFile, matching
from jobs.ingest.sources.spec import SourceSpec
from jobs.ingest.validation import check_rows, names_erased, of_erased
from jobs.lake.lake import Lake
from jobs.lake.merge import Merged, merge_table
from jobs.lake.staging import Staging
from recsys.config import IngestSettings
from recsys.errors import DataError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]
"""Called with the task's name, the rows done so far, and the total of rows where it is known."""

LEASE: Final = "writer.lease"
LEASE_MINUTES: Final = 60
"""After so long without renewal, another machine on a shared folder may take over the lease."""

EXAMPLE_CHARS: Final = 200
MAX_REASONS: Final = 3


@dataclass(frozen=True)
class TableReport:
    """Rows of one table in one run: read = new + updated + duplicates + bad + erased. reasons: how many rows broke each
    rule. n_erased: rows of erased shoppers, which are dropped and do not go to the quarantine either."""

    table: str
    n_read: int
    n_new: int
    n_updated: int
    n_duplicates: int
    n_bad: int
    reasons: Mapping[str, int]
    n_erased: int = 0


@dataclass(frozen=True)
class IngestReport:
    """What one run did, by table, and the folder of its bad rows."""

    tables: tuple[TableReport, ...]
    seconds: float
    quarantine: Path


@dataclass
class _Count:
    n_read: int = 0
    n_bad: int = 0
    n_erased: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    example: str = ""


def ingest(
    workspace: Workspace,
    spec: SourceSpec,
    settings: IngestSettings,
    now: datetime,
    progress: Progress | None = None,
    whole: SourceSpec | None = None,
) -> IngestReport:
    """Take every file of `spec` into the lake, and note the spec for `ingest_new`.

    now: with time zone; rows later than `future_slack_hours` after it are bad. whole: the spec to note, where `spec`
    names only some of its files.
    Raises DataError, with the lake as it was: a file is missing, empty or not what its name says, a column is
    missing, a table has no rows, or more than `max_bad_share` of a table's rows are bad.
    """
    started = time.perf_counter()
    with hold_lease(workspace.lake / LEASE, now, LEASE_MINUTES):
        tables = _take_files(workspace, spec, whole or spec, FileDigests(), settings, now, progress, may_be_empty=False)
    return IngestReport(tables, time.perf_counter() - started, workspace.quarantine)


def ingest_new(
    workspace: Workspace, settings: IngestSettings, now: datetime, progress: Progress | None = None
) -> IngestReport | None:
    """Take the files of known sources that are new or changed; None where there are none.

    A known file that is missing, or a new one without rows, is logged and no error. Raises as `ingest` otherwise; the
    sources before the one that failed are then already in the lake.
    """
    started = time.perf_counter()
    tables: list[TableReport] = []
    digests = FileDigests()
    for source in load_seen(workspace.lake):
        unseen = source.unseen(digests)
        if unseen is not None:
            with hold_lease(workspace.lake / LEASE, now, LEASE_MINUTES):
                tables += _take_files(
                    workspace, unseen, source.spec, digests, settings, now, progress, may_be_empty=True
                )
    if not tables:
        return None
    return IngestReport(_summed(tables), time.perf_counter() - started, workspace.quarantine)


def _take_files(
    workspace: Workspace,
    spec: SourceSpec,
    whole: SourceSpec,
    digests: FileDigests,
    settings: IngestSettings,
    now: datetime,
    progress: Progress | None,
    *,
    may_be_empty: bool,
) -> tuple[TableReport, ...]:
    """Stage, check, merge and commit the files of `spec`, and note them as seen; the caller holds the lake."""
    files = SOURCES[spec.source](spec)
    taken = [digests.take(path) for raw in files for path in raw.inputs]
    namings = [name_columns(raw, whole) for raw in files]
    latest = now + timedelta(hours=settings.future_slack_hours)
    counts = {raw.table: _Count() for raw in files}
    erased = read_erased(workspace)
    lake = Lake(workspace.lake)
    with Staging(workspace.lake / "staging") as staging:
        for raw, naming in zip(files, namings, strict=True):
            folder = workspace.quarantine / raw.table
            with QuarantineFile(folder, raw.path, _content_digest(raw, digests)) as quarantine:
                n_rows = 0
                for batch in raw.batches(settings.batch_rows):
                    _stage_batch(batch, raw, naming, latest, erased, staging, quarantine, counts[raw.table])
                    n_rows += batch.rows.height
                    if progress:
                        progress(f"read {raw.path.name}", n_rows, raw.n_rows)
        for table, count in counts.items():
            _refuse_bad(table, count, files, settings, workspace.quarantine, may_be_empty=may_be_empty)
        merged = {}
        for table in staging.tables():
            merged[table] = merge_table(lake, staging, table, settings.batch_rows, progress)
        source = FilesTaken(whole, _without_globs(spec), taken)
        commit_ingest(lake, staging, merged, source, now, settings.undo_history)
    add_seen(workspace.lake, whole, taken)
    return tuple(_report(table, count, merged.get(table)) for table, count in counts.items())


def _stage_batch(
    batch: RawBatch,
    raw: RawFile,
    naming: Naming,
    latest: datetime,
    erased: ErasedUsers,
    staging: Staging,
    quarantine: QuarantineFile,
    count: _Count,
) -> None:
    columns = {
        ours: source_column for ours, source_column in naming.columns.items() if source_column in batch.rows.columns
    }
    rows = cast_rows(raw.table, batch.rows, columns, naming.constants)
    given, numbered = batch.rows, batch.numbers
    is_erased = of_erased(rows, erased)
    if is_erased.any():
        rows, given, numbered = (
            rows.filter(~is_erased),
            given.filter(~is_erased),
            numbered.filter(~is_erased),
        )
    broken = [row for row in batch.broken if not names_erased(row.text, erased)]
    checked = check_rows(raw.table, rows, latest)
    staging.add(raw.table, checked.good)
    bad = list(checked.bad_rows)
    numbers = [*numbered.gather(bad).to_list(), *(row.number for row in broken)]
    rules = [*checked.bad_rules, *(row.rule for row in broken)]
    data = [*as_given(given[bad]), *(row.text for row in broken)]
    quarantine.add(numbers, rules, data)
    count.n_read += batch.rows.height + len(batch.broken)
    count.n_erased += int(is_erased.sum()) + len(batch.broken) - len(broken)
    count.n_bad += len(rules)
    count.reasons.update(rule for broken_rules in rules for rule in broken_rules.split(", "))
    if rules and not count.example:
        count.example = f"row {numbers[0]} of {raw.path} breaks {rules[0]}: {data[0][:EXAMPLE_CHARS]}"


def _refuse_bad(
    table: str,
    count: _Count,
    files: Sequence[RawFile],
    settings: IngestSettings,
    quarantine: Path,
    *,
    may_be_empty: bool,
) -> None:
    """Raise DataError where a table has no rows, or too many bad ones."""
    paths = [raw.path for raw in files if raw.table == table]
    if count.n_read == 0:
        if may_be_empty:
            log.warning("no_rows table=%s files=%d first=%s", table, len(paths), paths[0])
            return
        others = f" (nor any of {len(paths) - 1} other files of {table})" if len(paths) > 1 else ""
        raise DataError(f"{paths[0]}: the file has no rows{others}; give a file with at least one row")
    share = count.n_bad / count.n_read
    if share > settings.max_bad_share:
        reasons = ", ".join(f"{rule} {n}" for rule, n in count.reasons.most_common(MAX_REASONS))
        raise DataError(
            f"{table}: {count.n_bad} of {count.n_read} rows are bad ({share:.1%}; ingest.max_bad_share allows "
            f"{settings.max_bad_share:.1%}): {reasons}; {count.example}; nothing was ingested; the bad rows are in "
            f"{quarantine / table}"
        )


def _report(table: str, count: _Count, merged: Merged | None) -> TableReport:
    n_new, n_updated = (merged.n_new, merged.n_updated) if merged else (0, 0)
    n_known = count.n_read - count.n_bad - count.n_erased - n_new - n_updated
    reasons = dict(count.reasons.most_common())
    report = TableReport(table, count.n_read, n_new, n_updated, n_known, count.n_bad, reasons, count.n_erased)
    log.info(
        "table_ingested table=%s read=%d new=%d updated=%d duplicates=%d bad=%d erased=%d",
        *(table, report.n_read, n_new, n_updated, n_known, report.n_bad, report.n_erased),
    )
    return report


def _summed(reports: Sequence[TableReport]) -> tuple[TableReport, ...]:
    """One report a table."""
    sums: dict[str, TableReport] = {}
    for report in reports:
        so_far = sums.get(report.table, TableReport(report.table, 0, 0, 0, 0, 0, {}))
        reasons = Counter(so_far.reasons)
        reasons.update(report.reasons)
        sums[report.table] = TableReport(
            report.table,
            n_read=so_far.n_read + report.n_read,
            n_new=so_far.n_new + report.n_new,
            n_updated=so_far.n_updated + report.n_updated,
            n_duplicates=so_far.n_duplicates + report.n_duplicates,
            n_bad=so_far.n_bad + report.n_bad,
            reasons=dict(reasons.most_common()),
            n_erased=so_far.n_erased + report.n_erased,
        )
    return tuple(sums.values())


def _content_digest(raw: RawFile, digests: FileDigests) -> str:
    """SHA-256 over the content of the files that `raw` is made from; their names do not matter."""
    return hashlib.sha256("".join(digests.take(path).digest for path in raw.inputs).encode()).hexdigest()


def _without_globs(spec: SourceSpec) -> dict[str, tuple[str, ...]]:
    """The files that its paths name now; a folder as it is."""
    return {
        key: patterns if key == "folder" else tuple(str(path) for pattern in patterns for path in matching(pattern))
        for key, patterns in spec.paths.items()
    }
