"""Ingest: files of a source are read, cast, checked, and merged into the lake in one commit.

    raw batch -> cast -> check -> good rows -> staging -> merge by partition -> commit
                              -> bad rows  -> quarantine

Ingesting the same events again, in a renamed or overlapping file, changes nothing. Of products and reviews what
arrives later wins, field by field: a file as of its ingest, a change sent to the service as of its request. A run with
too many bad rows is refused, and the lake stays as it was.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from features.workspace.erased_users import read_erased
from features.workspace.user_ids import UserIds
from jobs.ingest.column_mapping import Naming
from jobs.ingest.commit import FilesTaken, commit_ingest
from jobs.ingest.full_feeds import stage_missing
from jobs.ingest.item_changes import ingest_items_before
from jobs.ingest.namings import namings_of
from jobs.ingest.persons import refuse_addresses
from jobs.ingest.quarantine import QuarantineFile
from jobs.ingest.readers.paths import matching
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.readers.remote import is_url, localised
from jobs.ingest.report import FileReport, IngestReport, TableCount, TableReport, summed
from jobs.ingest.rows import RowReader
from jobs.ingest.seen_files import FileDigests, add_seen, load_seen
from jobs.ingest.sources.registry import open_source
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.aliases import AliasMap
from jobs.lake.lake import TABLES, Lake
from jobs.lake.merge import merge_table
from jobs.lake.staging import Staging
from jobs.lake.writer_lease import hold_lake
from recsys.config import IngestSettings
from recsys.errors import DataError
from recsys.values.event_types import KNOWN
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]
"""Called with the task's name, the rows done so far, and the total of rows where it is known."""

HINTS: Final = {
    "event_type|dtype": (
        f"event types are {KNOWN}, and words for them such as add_to_cart; say what another word means with --value "
        "events.event_type:WORD=TYPE, or leave its rows out with --value events.event_type:WORD="
    ),
    "timestamp|dtype": "times are ISO 8601, RFC 2822, seconds, ms or µs since 1970, or dates such as 21.12.2023",
}
"""Rule -> what to do about rows that break it."""

EXAMPLE_CHARS: Final = 200
MAX_REASONS: Final = 3

MIN_HIGH_RATINGS: Final = 3
MAX_HIGH_SHARE: Final = 0.01
"""So many ratings above 5 stars, and more than this share, are another scale, not a mistake in a few rows."""


def ingest(
    workspace: Workspace,
    spec: SourceSpec,
    settings: IngestSettings,
    now: datetime,
    progress: Progress | None = None,
    whole: SourceSpec | None = None,
    events_url: str = "",
) -> IngestReport:
    """Take every file of `spec` into the lake, and note the spec for `ingest_new`.

    now: with time zone; rows later than `future_slack_hours` after it are bad. whole: the spec to note, where `spec`
    names only some of its files. events_url: of the live database, "" for the workspace's own: changes of items that
    came before the files go into the lake first, so that what arrives later wins.
    Raises DataError, with the lake as it was: a file is missing, empty or not what its name says, a column is
    missing, a table has no rows, or more than `max_bad_share` of a table's rows are bad. Raises StoreError where
    another ingest is running, and where the live database cannot be read.
    """
    started = time.perf_counter()
    with hold_lake(workspace.lake, now):
        run = _Run(workspace, whole or spec, FileDigests(), settings, now, progress, events_url, may_be_empty=False)
        tables, files = run.take(spec)
    return IngestReport(tables, files, time.perf_counter() - started, workspace.quarantine)


def ingest_new(
    workspace: Workspace,
    settings: IngestSettings,
    now: datetime,
    progress: Progress | None = None,
    events_url: str = "",
) -> IngestReport | None:
    """Take the files of known sources that are new or changed; None where there are none.

    A known file that is missing, or a new one without rows, is logged and no error. Raises as `ingest` otherwise; the
    sources before the one that failed are then already in the lake.
    """
    started = time.perf_counter()
    tables: list[TableReport] = []
    files: list[FileReport] = []
    digests = FileDigests()
    for source in load_seen(workspace.lake):
        unseen = source.unseen(digests, workspace.lake)
        if unseen is not None:
            with hold_lake(workspace.lake, now):
                run = _Run(workspace, source.spec, digests, settings, now, progress, events_url, may_be_empty=True)
                new_tables, new_files = run.take(unseen)
            tables += new_tables
            files += new_files
    if not tables:
        return None
    return IngestReport(summed(tables), tuple(files), time.perf_counter() - started, workspace.quarantine)


@dataclass
class _Run:
    """One source's files on their way into the lake; the caller holds the lake. whole: the spec as it is noted."""

    workspace: Workspace
    whole: SourceSpec
    digests: FileDigests
    settings: IngestSettings
    now: datetime
    progress: Progress | None
    events_url: str
    may_be_empty: bool = field(kw_only=True)

    def take(self, spec: SourceSpec) -> tuple[tuple[TableReport, ...], tuple[FileReport, ...]]:
        """Stage, check, merge and commit the files of `spec`, and note them as seen."""
        lake = Lake(self.workspace.lake)
        files = sorted(open_source(localised(spec, lake.root)), key=lambda raw: list(TABLES).index(raw.table))
        if not files:
            if not self.may_be_empty:
                raise DataError(
                    f"{next(iter(spec.paths.values()))[0]}: the file has no rows; give one with at least one row"
                )
            return (), ()
        with ThreadPoolExecutor(1) as hasher:  # hashing large files takes as long as looking into them
            hashed = hasher.map(self.digests.take, dict.fromkeys(path for raw in files for path in raw.inputs))
            namings = [namings_of(raw, self.whole) for raw in files]
            taken = list(hashed)
        counts = {table: TableCount() for raw in files for table in (raw.table,)}
        with Staging(lake.root / "staging") as staging:
            reports = []
            for raw, naming in zip(files, namings, strict=True):
                reader = RowReader(
                    self.whole.options,
                    self.now,
                    self.now + timedelta(hours=self.settings.future_slack_hours),
                    read_erased(self.workspace),
                    self._user_ids(lake),
                    AliasMap.read(lake, staging),
                )
                reports.append(self._stage(raw, naming, reader, staging, counts))
            self._refuse_empty([report for report in reports if not report.rows and not report.left_out], counts)
            for table, count in counts.items():
                self._refuse_bad(table, count)
            if "catalog" in staging.tables():
                ingest_items_before(self.workspace, self.settings, self.now, self.events_url)
                lake = Lake(lake.root)
            if self.whole.options.full:
                stage_missing(lake, staging)
            merged = {}
            for table in staging.tables():
                merged[table] = merge_table(lake, staging, table, self.settings.batch_rows, self.progress)
            source = FilesTaken(self.whole, _without_globs(spec), taken)
            commit_ingest(lake, staging, merged, source, self.now, self.settings.undo_history)
        add_seen(lake.root, self.whole, taken)
        read = {
            table: counts[table] for table in TABLES if table in counts and (counts[table].n_read or len(counts) == 1)
        }
        return tuple(count.report(table, merged.get(table)) for table, count in read.items()), tuple(reports)

    def _user_ids(self, lake: Lake) -> UserIds | None:
        """None where addresses stay user ids. Raises DataError where the workspace does it the other way."""
        if self.whole.options.keep_user_ids:
            if UserIds.find(self.workspace) is not None:
                raise DataError(
                    "--keep-user-ids: this workspace stores e-mail addresses as keyed hashes; leave the option out, "
                    "or use another workspace"
                )
            return None
        return UserIds.of(self.workspace, lambda: refuse_addresses(lake))

    def _stage(
        self,
        raw: RawFile,
        namings: dict[str, Naming],
        reader: RowReader,
        staging: Staging,
        counts: dict[str, TableCount],
    ) -> FileReport:
        """Read one file into the staging area and the quarantine."""
        folder = self.workspace.quarantine / raw.table
        rows: Counter[str] = Counter()
        left_out_before = {table: count.left_out.copy() for table, count in counts.items()}
        with QuarantineFile(folder, raw.path, _content_digest(raw, self.digests)) as quarantine:
            for batch in raw.batches(self.settings.batch_rows):
                table = batch.table or raw.table
                count = counts.setdefault(table, TableCount())
                checked = reader.read(table, batch, namings[table], count)
                staging.add(table, checked.good)
                quarantine.add(checked.bad_numbers, checked.bad_rules, checked.bad_rows)
                if checked.bad_rules and not count.example:
                    first = f"row {checked.bad_numbers[0]} of {raw.path} breaks {checked.bad_rules[0]}"
                    count.example = f"{first}: {checked.bad_rows[0][:EXAMPLE_CHARS]}"
                rows[table] += checked.good.height
                if self.progress:
                    self.progress(f"read {raw.path.name}", rows.total(), raw.n_rows)
        left_out = sum((counts[t].left_out - left_out_before.get(t, Counter()) for t in counts), Counter())
        return FileReport(
            raw.path, raw.format, dict(rows), dict(left_out.most_common()), raw.notes(), namings[raw.table].guessed
        )

    def _refuse_empty(self, empty: Sequence[FileReport], counts: Mapping[str, TableCount]) -> None:
        """Raise DataError where no file has a row, unless that is allowed."""
        if not empty or any(count.n_read for count in counts.values()):
            return
        if self.may_be_empty:
            log.warning("no_rows files=%d first=%s", len(empty), empty[0].path)
            return
        others = f" (nor any of {len(empty) - 1} other files)" if len(empty) > 1 else ""
        raise DataError(f"{empty[0].path}: the file has no rows{others}; give a file with at least one row")

    def _refuse_bad(self, table: str, count: TableCount) -> None:
        """Raise DataError where too many rows of a table are bad, or its ratings are on another scale."""
        if count.n_high_ratings >= MIN_HIGH_RATINGS and count.n_high_ratings > MAX_HIGH_SHARE * count.n_ratings:
            raise DataError(
                f"{table}: {count.n_high_ratings:,} of {count.n_ratings:,} ratings are above 5; say what the scale is, "
                "for example `--rating-scale 10` (1 to 10) or `--rating-scale 0-100`; nothing was ingested"
            )
        if len(count.currencies) > 1:
            named = " and ".join(f"{code} ({count.currencies[code]:,})" for code in sorted(count.currencies))
            raise DataError(
                f"{table}: prices in {named}; a catalogue has one currency: choose the rows of one with --where, or "
                "ingest one file per currency into workspaces of their own; nothing was ingested"
            )
        n_for_us = count.n_read - count.left_out.total()
        share = count.n_bad / n_for_us if n_for_us else 0.0
        if share > self.settings.max_bad_share:
            reasons = ", ".join(f"{rule} {n}" for rule, n in count.reasons.most_common(MAX_REASONS))
            hints = "".join(f"; {hint}" for rule, hint in HINTS.items() if count.reasons[rule])
            raise DataError(
                f"{table}: {count.n_bad} of {n_for_us} rows are bad ({share:.1%}; ingest.max_bad_share allows "
                f"{self.settings.max_bad_share:.1%}): {reasons}; {count.example}{hints}; nothing was ingested; the bad "
                f"rows are in {self.workspace.quarantine / table}"
            )


def _content_digest(raw: RawFile, digests: FileDigests) -> str:
    """SHA-256 over the content of the files that `raw` is made from; their names do not matter."""
    return hashlib.sha256("".join(digests.take(path).digest for path in raw.inputs).encode()).hexdigest()


def _without_globs(spec: SourceSpec) -> dict[str, tuple[str, ...]]:
    """The files that its paths name now; folders and URLs as they are."""
    return {
        key: patterns if key == "folder" else tuple(path for pattern in patterns for path in _named(pattern))
        for key, patterns in spec.paths.items()
    }


def _named(pattern: str) -> list[str]:
    return [pattern] if is_url(pattern) else [str(path) for path in matching(pattern)]
