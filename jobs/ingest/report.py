"""What one ingest did, by table and by file, and the counts from which that is told."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from jobs.lake.merge import Merged

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableReport:
    """Rows of one table in one run: read = new + updated + duplicates + same_item + older + left_out + bad + erased.

    n_same_item: rows of the catalogue beyond the first of their item, whose values were merged. n_older: rows of items
    and reviews that are dated before another row of the same run, which wins. n_shared_ids: of the events, those whose
    id another event has, which are kept; n_guests: purchases without a user id, of a guest each order; n_future: rows
    dated after now. n_left_out: rows that are not for this table, by reason in `left_out`. reasons: how many bad rows
    broke each rule. n_erased: rows of erased shoppers, which are dropped and do not go to the quarantine either.
    """

    table: str
    n_read: int = 0
    n_new: int = 0
    n_updated: int = 0
    n_duplicates: int = 0
    n_bad: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    n_erased: int = 0
    n_same_item: int = 0
    n_older: int = 0
    n_shared_ids: int = 0
    n_guests: int = 0
    n_future: int = 0
    n_left_out: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    example: str = ""

    def plus(self, other: TableReport) -> TableReport:
        """Both runs together."""
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name.startswith("n_")}
        reasons, left_out = Counter(self.reasons), Counter(self.left_out)
        reasons.update(other.reasons)
        left_out.update(other.left_out)
        return TableReport(
            self.table,
            reasons=dict(reasons.most_common()),
            left_out=dict(left_out.most_common()),
            example=self.example or other.example,
            **sums,
        )


@dataclass(frozen=True)
class FileReport:
    """One file: its format, how many rows of each table it gave, what was left out, and what else is to be said of it,
    such as how many variants were counted. guessed: our column -> the column that was taken for it by its name."""

    path: Path
    format: str
    rows: Mapping[str, int]
    left_out: Mapping[str, int]
    notes: Mapping[str, int]
    guessed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class IngestReport:
    """What one run did, by table and by file, and the folder of its bad rows."""

    tables: tuple[TableReport, ...]
    files: tuple[FileReport, ...]
    seconds: float
    quarantine: Path


@dataclass
class TableCount:
    """What is counted of one table while its rows are read.

    n_guests: purchases without a user id; n_future: rows that are dated after now; n_high_ratings: of `n_ratings`,
    those above 5 stars; currencies: ISO code -> prices that name it.
    """

    n_read: int = 0
    n_bad: int = 0
    n_erased: int = 0
    n_guests: int = 0
    n_future: int = 0
    n_ratings: int = 0
    n_high_ratings: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    currencies: Counter[str] = field(default_factory=Counter)
    example: str = ""

    def report(self, table: str, merged: Merged | None) -> TableReport:
        """`merged` is None where no row of the table was good."""
        merged = merged or Merged((), 0, 0)
        n_new, n_updated, n_same, n_older = merged.n_new, merged.n_updated, merged.n_same_item, merged.n_older
        n_left_out = self.left_out.total()
        n_known = self.n_read - self.n_bad - self.n_erased - n_left_out - n_same - n_older - n_new - n_updated
        log.info(
            "table_ingested table=%s read=%d new=%d updated=%d duplicates=%d same_item=%d older=%d left_out=%d bad=%d "
            "erased=%d",
            *(table, self.n_read, n_new, n_updated, n_known, n_same, n_older, n_left_out, self.n_bad, self.n_erased),
        )
        return TableReport(
            table,
            n_read=self.n_read,
            n_new=n_new,
            n_updated=n_updated,
            n_duplicates=n_known,
            n_bad=self.n_bad,
            reasons=dict(self.reasons.most_common()),
            n_erased=self.n_erased,
            n_same_item=n_same,
            n_older=n_older,
            n_shared_ids=merged.n_shared_ids,
            n_guests=self.n_guests,
            n_future=self.n_future,
            n_left_out=n_left_out,
            left_out=dict(self.left_out.most_common()),
            example=self.example,
        )


def summed(reports: Iterable[TableReport]) -> tuple[TableReport, ...]:
    """One report a table."""
    sums: dict[str, TableReport] = {}
    for report in reports:
        sums[report.table] = sums[report.table].plus(report) if report.table in sums else report
    return tuple(sums.values())
