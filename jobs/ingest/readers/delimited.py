"""Delimited text: commas, semicolons, tabs or bars, any encoding, with what systems put above and behind the rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.csv

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.raw import MAX_STORED_CHARS, BrokenRow, RawBatch, Rows, row_numbers
from jobs.ingest.readers.text import encoding_of
from recsys.errors import DataError

BLOCK_BYTES: Final = 16 << 20
PEEKED_LINES: Final = 200
MAX_PREAMBLE: Final = 10
"""Comment and title lines that may stand above the header."""

_DELIMITERS: Final = ",;\t|"

csv.field_size_limit(BLOCK_BYTES)  # of the lines looked at; a page of HTML can be longer than the default


@dataclass(frozen=True)
class Layout:
    """How a file is written. columns: its names, each once; n_skipped: lines before the first row; n_blank: cells
    behind the last column of each row, which hold nothing."""

    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    n_skipped: int
    n_blank: int


def open_rows(file: DataFile, columns: Sequence[str] | None = None) -> Rows:
    """The rows of a delimited file, all text. columns: the names, where the file has no header.

    A row with too many or too few cells is broken by the rule `csv`; blank cells behind the last column are none.
    Raises DataError for a file that cannot be read.
    """
    layout = layout_of(file, columns)
    names = [*layout.columns, *(f"blank {number}" for number in range(layout.n_blank))]

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        broken: dict[int, BrokenRow] = {}

        def note_broken(row: Any) -> str:
            number = row.number - layout.n_skipped
            text = (row.text or "")[:MAX_STORED_CHARS]
            problem = f"{row.actual_columns} fields instead of {row.expected_columns}"
            broken[number] = BrokenRow(number, "csv", f"{problem}: {text}", layout.columns)
            return "skip"

        try:
            with _stream(file) as stream:
                reader = pa.csv.open_csv(
                    stream,
                    read_options=pa.csv.ReadOptions(
                        use_threads=False,
                        block_size=BLOCK_BYTES,
                        column_names=names,
                        skip_rows=layout.n_skipped,
                        encoding=layout.encoding.removesuffix("-sig"),
                    ),
                    parse_options=pa.csv.ParseOptions(
                        delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=note_broken
                    ),
                    convert_options=pa.csv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                    ),
                )
                yield from _numbered(_rebatched(reader, batch_rows), broken, layout.columns)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                raise damaged(file, error) from None
        except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
            raise damaged(file, error) from None

    return Rows(layout.columns, batches)


def layout_of(file: DataFile, columns: Sequence[str] | None = None) -> Layout:
    """How the file is written, from its first lines. Raises DataError for a file that cannot be read."""
    encoding = encoding_of(file)
    try:
        with io.TextIOWrapper(file.open(), encoding=encoding, newline="") as text:
            lines = list(islice(text, PEEKED_LINES))
        n_above = 0 if columns else _lines_above_header(lines)
        delimiter = _delimiter(lines[n_above:])
        cells = csv.reader(lines[n_above:], delimiter=delimiter)
        header = [] if columns else next(cells, [])
        n_skipped = n_above + (0 if columns else cells.line_num)
        rows = list(islice(cells, PEEKED_LINES // 2))
    except (OSError, EOFError, UnicodeError, csv.Error) as error:
        raise damaged(file, error) from None
    names = list(columns) if columns else [name.strip() for name in header]
    return Layout(encoding, delimiter, unique_names(names), n_skipped, _n_blank_behind(rows, len(names)))


def damaged(file: DataFile, error: Exception) -> DataError:
    """The error for a file that breaks off or is not what it seems."""
    kind = "gzip file" if file.path.suffix == ".gz" else "file"
    return DataError(f"{file}: damaged {kind}: {str(error).strip().splitlines()[0].rstrip('.')[:200]}")


def _stream(file: DataFile) -> pa.NativeFile:
    return pa.input_stream(str(file.path), compression=None) if file.is_plain else pa.PythonFile(file.open(), mode="r")


def _lines_above_header(lines: Sequence[str]) -> int:
    """Comments (`# …`), blank lines, and a title without any delimiter above a header that has some."""
    above = 0
    for position, line in enumerate(lines[:MAX_PREAMBLE]):
        if (
            (line.startswith("#") and not _is_marked_header(line, lines[position + 1 : position + 2]))
            or not line.strip()
            or line.lower().startswith("sep=")
            or _is_title(line, lines[position + 1 : position + 3])
        ):
            above = position + 1
        else:
            break
    return above if above < len(lines) else 0


def _is_title(line: str, following: Sequence[str]) -> bool:
    """Whether a line has no cell behind the first, where both lines below have some; Excel pads it with delimiters."""
    if len(following) < 2:
        return False
    return _n_filled(line) == 0 and min(map(_n_filled, following)) > 0


def _n_filled(line: str) -> int:
    """Delimiters of a line without those at its end."""
    return _n_delimiters(line.strip().rstrip(_DELIMITERS))


def _is_marked_header(line: str, following: Sequence[str]) -> bool:
    """Whether `#id,name` names the columns: no blank behind the mark, and as many cells as the line below."""
    has_name = line[1:2].isalpha() and _n_delimiters(line) > 0
    return has_name and bool(following) and not following[0].startswith("#") and _is_row_below(line, following[0])


def _is_row_below(line: str, below: str) -> bool:
    return all(line.count(delimiter) == below.count(delimiter) for delimiter in _DELIMITERS)


def _n_delimiters(line: str) -> int:
    return max(line.count(delimiter) for delimiter in _DELIMITERS)


def _delimiter(lines: Sequence[str]) -> str:
    """The one of which the header has most."""
    header = lines[0] if lines else ""
    unquoted = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=lambda delimiter: (unquoted or header).count(delimiter))


def _n_blank_behind(rows: Sequence[Sequence[str]], n_columns: int) -> int:
    """How many blank cells the rows have behind the last column, where they agree."""
    widths = Counter(len(row) for row in rows if row)
    if not widths:
        return 0
    width = widths.most_common(1)[0][0]
    extra = width - n_columns
    are_blank = all(not any(row[n_columns:]) for row in rows if len(row) == width)
    return extra if extra > 0 and are_blank else 0


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, a repeated one with its number behind it; a blank one is its place, `column 3`."""
    seen: Counter[str] = Counter()
    unique = []
    for place, given in enumerate(names, start=1):
        name = given or f"column {place}"
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return tuple(unique)


def _numbered(blocks: Iterable[pa.Table], broken: dict[int, BrokenRow], columns: tuple[str, ...]) -> Iterator[RawBatch]:
    """Each block with the numbers of its rows, and the broken rows among them."""
    number = 1
    for block in blocks:
        numbers: list[int] = []
        while len(numbers) < block.num_rows:
            if number not in broken:
                numbers.append(number)
            number += 1
        passed = tuple(broken.pop(key) for key in sorted(broken) if key < number)
        yield RawBatch(pl.DataFrame(block.select(list(columns))), row_numbers(numbers), passed)
    if broken:
        rest = tuple(broken[key] for key in sorted(broken))
        yield RawBatch(pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), row_numbers([]), rest)


def _rebatched(batches: Iterable[pa.RecordBatch], batch_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `batch_rows`, the last one shorter."""
    held: list[pa.RecordBatch] = []
    n_held = 0
    for batch in batches:
        held.append(batch)
        n_held += batch.num_rows
        while n_held >= batch_rows:
            table = pa.Table.from_batches(held)
            yield table.slice(0, batch_rows)
            held = table.slice(batch_rows).to_batches()
            n_held -= batch_rows
    if n_held:
        yield pa.Table.from_batches(held)
