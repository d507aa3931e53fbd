"""How `recsys ingest` tells what it did, and what a preview found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jobs.ingest.preview import FilePreview
from jobs.ingest.report import FileReport, IngestReport, TableCount, TableReport
from jobs.lake.lake import Lake

MAX_REASONS: Final = 12
MAX_FILES: Final = 20
MAX_CELL_CHARS: Final = 40

_ONLY_WHERE_ANY: Final = ("same item", "older", "left out")
"""Columns that are not shown where all counts are zero."""


def print_report(report: IngestReport, lake: Lake) -> None:
    """Print a line per file, a row per table, and where rejected rows were written."""
    console = Console()
    for file in report.files[:MAX_FILES]:
        _print(console, _file_line(file))
    if len(report.files) > MAX_FILES:
        _print(console, f"… and {len(report.files) - MAX_FILES} more files")
    summary = Table(title=f"Ingested in {report.seconds:.1f} s", title_justify="left", box=SIMPLE_HEAD)
    summary.add_column("table", no_wrap=True)
    columns = {
        "read": [table.n_read for table in report.tables],
        "new": [table.n_new for table in report.tables],
        "updated": [table.n_updated for table in report.tables],
        "duplicates": [table.n_duplicates for table in report.tables],
        "same item": [table.n_same_item for table in report.tables],
        "older": [table.n_older for table in report.tables],
        "left out": [table.n_left_out for table in report.tables],
        "rejected": [table.n_bad for table in report.tables],
        "in the lake": [lake.n_rows(table.table) for table in report.tables],
    }
    shown = {name: counts for name, counts in columns.items() if name not in _ONLY_WHERE_ANY or any(counts)}
    for name in shown:
        summary.add_column(name, justify="right", no_wrap=True)
    for table, *counts in zip(report.tables, *shown.values(), strict=True):
        summary.add_row(table.table, *(f"{count:,}" for count in counts))
    console.print(summary)
    for table in report.tables:
        _print_merged(console, table)
        _print_not_taken(console, table, report.quarantine)


def _print_merged(console: Console, table: TableReport) -> None:
    """What is to be said of rows that were taken."""
    if table.n_same_item:
        rows = table.n_read - table.n_left_out - table.n_bad
        n_items = rows - table.n_same_item - table.n_older
        line = f"{rows:,} rows, {n_items:,} items: {table.n_same_item:,} rows are variants or pictures of an item"
        _print(console, line)
    if table.n_older:
        _print(console, f"{table.n_older:,} rows of {table.table} are older than another row of the same key here")
    if table.n_future:
        line = (
            f"{table.n_future:,} rows of {table.table} lie in the future: a nightly run takes them when their time "
            "has come; if they are times of the shop's own zone, ingest the file again with --timezone, for "
            "example Asia/Tokyo"
        )
        _print(console, line)
    if table.n_guests:
        line = f"{table.n_guests:,} purchases have no user id: the lines of an order count as those of one guest"
        _print(console, line)
    if table.n_shared_ids:
        line = (
            f"{table.n_shared_ids:,} rows of {table.table} share an event_id with another shopper, item, type or "
            "value; all are kept"
        )
        _print(console, line)


def _print_not_taken(console: Console, table: TableReport, quarantine: Path) -> None:
    if table.n_left_out:
        _print(console, f"left out of {table.table}: {_listed(table.left_out)}")
    if table.n_bad:
        folder = quarantine / table.table
        _print(console, f"rejected rows of {table.table}: {_listed(table.reasons)}; written to {folder}")
        _print(console, f"  for example {table.example}")
    if table.n_erased:
        _print(console, f"skipped rows of {table.table} from erased shoppers: {table.n_erased:,}")


def print_preview(files: Sequence[FilePreview], command: str) -> None:
    """Print what each file is, which columns go where, what would be left out, the first rows, and the command."""
    console = Console()
    for file in files:
        _print(console, f"\n{file.path}: {file.format or 'a table'}")
        if file.columns:
            _print(console, "  columns: " + ", ".join(f"{ours} <- {source}" for ours, source in file.columns.items()))
        if file.notes:
            _print(console, f"  {_listed(file.notes)}")
        if not file.is_whole:
            _print(console, "  only the first rows were read")
        for table, count in file.counts.items():
            _print(console, f"  {table}: {_counts(count)}")
            for row in file.rows[table].iter_rows(named=True) if table in file.rows else ():
                _print(console, f"    {_row_line(row)}")
    _print(console, f"\nNothing was changed. To ingest:\n  {command}")


def _file_line(file: FileReport) -> str:
    rows = ", ".join(f"{table} {n:,}" for table, n in file.rows.items()) or "no rows"
    parts = [f"{file.path.name}: {file.format or 'table'}, {rows}"]
    if file.notes:
        parts.append(_listed(file.notes))
    if file.guessed:
        parts.append("columns by name: " + ", ".join(f"{ours} <- {column}" for ours, column in file.guessed.items()))
    return "; ".join(parts)


def _counts(count: TableCount) -> str:
    parts = [f"{count.n_read:,} rows read"]
    if count.left_out.total():
        parts.append(f"{count.left_out.total():,} left out ({_listed(dict(count.left_out.most_common()))})")
    if count.n_bad:
        parts.append(f"{count.n_bad:,} bad ({_listed(dict(count.reasons.most_common()))}), {count.example}")
    if count.n_erased:
        parts.append(f"{count.n_erased:,} of erased shoppers")
    return "; ".join(parts)


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{name} {n:,}" for name, n in list(counts.items())[:MAX_REASONS]]
    return ", ".join(shown) + (f", … ({len(counts) - MAX_REASONS} more)" if len(counts) > MAX_REASONS else "")


def _row_line(row: Mapping[str, object]) -> str:
    """A row as `column value`, without blank columns."""
    return " | ".join(f"{name} {_cell(value)}" for name, value in row.items() if value is not None)


def _cell(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_CELL_CHARS else f"{text[:MAX_CELL_CHARS]}…"


def _print(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
