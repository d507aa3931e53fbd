"""Excel and OpenDocument workbooks."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any, Final

import polars as pl
from python_calamine import CalamineError, CalamineWorkbook

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.delimited import unique_names
from jobs.ingest.readers.raw import RawBatch, Rows, row_numbers
from recsys.errors import DataError

MAX_BYTES: Final = 512 << 20
"""A workbook is read whole."""


def open_rows(file: DataFile, columns: Sequence[str] | None = None, sheet: str | None = None) -> Rows:
    """The rows of a workbook, all text: of `sheet`, else of all sheets with content, which must have the same header.


    Raises DataError for a file that is no workbook, for an unknown sheet, and where the sheets differ.
    """
    book = _open(file)
    if sheet and sheet not in book.sheet_names:
        raise DataError(f"{file}: no sheet {sheet!r}; it has {', '.join(book.sheet_names)}")
    tables = {}
    for name in [sheet] if sheet else book.sheet_names:
        cells = [[_text(cell) for cell in row] for row in book.get_sheet_by_name(name).to_python()]
        cells = [row for row in cells if any(row)]
        if cells:
            tables[name] = cells
    if not tables:
        raise DataError(f"{file}: the workbook has no rows")
    headers = {name: tuple(columns) if columns else _header(cells)[0] for name, cells in tables.items()}
    if len(set(headers.values())) > 1:
        raise DataError(f"{file}: its sheets {', '.join(tables)} are different tables; choose one with --sheet NAME")
    names = next(iter(headers.values()))
    rows = [row for cells in tables.values() for row in cells[0 if columns else _header(cells)[1] :]]

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        source = enumerate(rows, start=1)
        while batch := list(islice(source, batch_rows)):
            padded = [[*row, *[None] * len(names)][: len(names)] for _, row in batch]
            frame = pl.DataFrame(padded, schema=dict.fromkeys(names, pl.String), orient="row")
            yield RawBatch(frame, row_numbers(number for number, _ in batch))

    return Rows(names, batches, len(rows))


def _open(file: DataFile) -> CalamineWorkbook:
    with file.open() as content:
        data = content.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DataError(f"{file}: a workbook of more than {MAX_BYTES >> 20} MiB; save it as CSV")
    try:
        return CalamineWorkbook.from_filelike(io.BytesIO(data))
    except (CalamineError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise DataError(f"{file}: not an Excel workbook ({reason}); save it again, or as CSV") from None


def _header(cells: Sequence[Sequence[str | None]]) -> tuple[tuple[str, ...], int]:
    """The names in the first row that is about as wide as the widest, and the position of the row after it."""
    widths = [sum(cell is not None for cell in row) for row in cells[:20]]
    position = next(i for i, width in enumerate(widths) if 2 * width > max(widths))
    names = [cell or "" for cell in cells[position]]
    while names and not names[-1]:
        names.pop()
    return unique_names(names), position + 1


def _text(cell: Any) -> str | None:
    if cell is None or cell == "":
        return None
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime | date):
        return cell.isoformat(sep=" ") if isinstance(cell, datetime) else cell.isoformat()
    if isinstance(cell, time | timedelta):
        return str(cell)
    return str(cell).strip() or None
