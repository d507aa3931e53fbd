"""Files of shops become batches of raw rows, in bounded memory: Parquet, CSV and JSON lines, plain or gzipped.

Raw rows keep the source's column names. Parquet keeps its types; CSV and JSON lines give text (an object or a list
inside a JSON line stays JSON text), so that no type is guessed from the first rows. `jobs/ingest/parsing.py` reads
them.
"""

from __future__ import annotations

import csv
import glob
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from recsys.errors import DataError

PEEKED_LINES: Final = 1000
"""The columns of a JSON lines file are those of so many lines, whatever the batch size."""

CSV_BLOCK_BYTES: Final = 16 << 20
MAX_KEPT_TEXT: Final = 2000


@dataclass(frozen=True)
class BrokenRow:
    """A row that could not even be read: its 1-based number, the rule it broke, and its text."""

    number: int
    rule: str
    text: str


@dataclass(frozen=True)
class RawBatch:
    """Rows as the source names them, the 1-based number of each in its file, and those that could not be read."""

    rows: pl.DataFrame
    numbers: pl.Series
    broken: tuple[BrokenRow, ...] = ()


@dataclass(frozen=True)
class RawFile:
    """One source of rows of one table. `inputs` are the files that its content depends on, `path` first.

    n_rows: rows to expect, where the format says so. batches: called with a batch size in rows.
    """

    table: str
    path: Path
    columns: tuple[str, ...]
    batches: Callable[[int], Iterator[RawBatch]]
    inputs: tuple[Path, ...]
    n_rows: int | None = None


def expand(patterns: Iterable[str]) -> list[Path]:
    """The files that paths and globs name, each once, absolute, by name within a pattern.

    Raises DataError where a pattern names no file, or a folder.
    """
    listed: dict[Path, None] = {}
    for pattern in patterns:
        paths = matching(pattern)
        if not paths:
            what = "no file matches this pattern" if glob.has_magic(pattern) else "no such file"
            raise DataError(f"{pattern}: {what}")
        listed.update(dict.fromkeys(paths))
    return list(listed)


def matching(pattern: str) -> list[Path]:
    """The files one path or glob names now, possibly none. Raises DataError where it names a folder."""
    paths = _globbed(Path(pattern))
    paths = sorted(path.absolute() for path in paths)
    folder = next((path for path in paths if path.is_dir()), None)
    if folder is not None and len(paths) == 1:
        raise DataError(f"{folder}: is a folder; name its files, for example {folder}/*.parquet")
    return [path for path in paths if path.is_file()]


def _globbed(pattern: Path) -> list[Path]:
    if pattern.exists():
        return [pattern]
    absolute = pattern.absolute()
    return list(Path(absolute.anchor).glob(str(absolute.relative_to(absolute.anchor))))


def open_file(table: str, path: Path) -> RawFile:
    """Open `path` by its name: .parquet, .csv, .tsv, .jsonl (.ndjson, .json), the last three also with .gz.

    Raises DataError for an empty file, another name, or content that does not fit the name.
    """
    require_content(path)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in (".parquet", ".pq"):
        return open_parquet(table, path)
    if suffix in (".csv", ".tsv"):
        return open_csv(table, path)
    if suffix in (".jsonl", ".ndjson", ".json"):
        return open_json_lines(table, path)
    raise DataError(f"{path}: unknown kind of file; known are .parquet, .csv, .tsv, .jsonl, and .gz of the last three")


def require_content(path: Path) -> None:
    """Raise DataError where `path` has no bytes or cannot be opened."""
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def open_parquet(table: str, path: Path) -> RawFile:
    """A Parquet file. Raises DataError where its content is not Parquet."""
    try:
        with pa.parquet.ParquetFile(path) as file:
            columns, n_rows = tuple(file.schema_arrow.names), file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({_first_sentence(error)})") from None

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        number = 1
        with pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=batch_rows):
                rows = pl.DataFrame(pa.Table.from_batches([batch]))
                yield RawBatch(rows, row_numbers(range(number, number + rows.height)))
                number += rows.height

    return RawFile(table, path, columns, _readable(path, batches), (path,), n_rows)


def open_csv(table: str, path: Path) -> RawFile:
    """A delimited text file with a header; the delimiter is the one of , ; tab | that the header has most of.

    A row with too many or too few fields is broken by the rule `csv`.
    """
    try:
        with text_lines(path) as lines:
            header = next(lines, "")
            delimiter = max(",;\t|", key=header.count)
            columns = tuple(next(csv.reader([header, *islice(lines, 100)], delimiter=delimiter), ()))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise DataError(f"{path}: the column {twice!r} is in the header twice")

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        broken: dict[int, BrokenRow] = {}

        def keep_broken(row: Any) -> str:
            number = row.number - 1  # the header is row 1
            text = (row.text or "")[:MAX_KEPT_TEXT]
            reason = f"{row.actual_columns} fields instead of {row.expected_columns}: {text}"
            broken[number] = BrokenRow(number, "csv", reason)
            return "skip"

        with pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None) as stream:
            reader = pa.csv.open_csv(
                stream,
                read_options=pa.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK_BYTES),
                parse_options=pa.csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep_broken
                ),
                convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
            )
            number = 1
            for block in _rebatched(reader, batch_rows):
                numbers: list[int] = []
                while len(numbers) < block.num_rows:
                    if number not in broken:
                        numbers.append(number)
                    number += 1
                passed = tuple(broken.pop(key) for key in sorted(broken) if key < number)
                yield RawBatch(pl.DataFrame(block), row_numbers(numbers), passed)
            if broken:
                rest = tuple(broken[key] for key in sorted(broken))
                yield RawBatch(pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), row_numbers([]), rest)

    return RawFile(table, path, columns, _readable(path, batches), (path,))


Line = dict[str, Any]


def parse_json(line: bytes) -> Line | None:
    """The object of one JSON line; None where the line is not one."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def open_json_lines(
    table: str,
    path: Path,
    *,
    parse: Callable[[bytes], Line | None] = parse_json,
    convert: Callable[[Line], Line] = lambda line: line,
) -> RawFile:
    """A file with one object a line. A line that `parse` cannot read is broken by the rule `json`.

    convert: renames and reshapes an object before its values become text.
    """

    def objects() -> Iterator[tuple[int, bytes, Line | None]]:
        with binary_lines(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    parsed = parse(line)
                    yield number, line, None if parsed is None else convert(parsed)

    try:
        peeked = list(islice(objects(), PEEKED_LINES))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None
    if peeked and peeked[0][1].lstrip().startswith(b"["):
        raise DataError(f"{path}: holds one JSON list; write one object a line (JSON lines)")
    if peeked and all(row is None for _, _, row in peeked):
        raise DataError(f"{path}: none of its first {len(peeked)} lines is a JSON object; write one object a line")
    columns = tuple(dict.fromkeys(key for _, _, row in peeked if row for key in row))

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        source = objects()
        while batch := list(islice(source, batch_rows)):
            good = [(number, row) for number, _, row in batch if row is not None]
            names = dict.fromkeys((*columns, *(key for _, row in good for key in row)))
            texts = {name: [_as_text(row.get(name)) for _, row in good] for name in names}
            yield RawBatch(
                pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String)),
                row_numbers([number for number, _ in good]),
                tuple(
                    BrokenRow(n, "json", line.decode("utf-8", "replace").strip()[:MAX_KEPT_TEXT])
                    for n, line, row in batch
                    if row is None
                ),
            )

    return RawFile(table, path, columns, _readable(path, batches), (path,))


def _as_text(value: Any) -> str | None:
    """The text of a JSON value: whole numbers without a fraction, lists and objects as JSON, null as None."""
    if value is None:
        return None
    if isinstance(value, str):  # a lone surrogate, legal in JSON, is not in UTF-8
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


def binary_lines(path: Path) -> IO[bytes]:
    """The lines of a file as bytes, unzipped where its name ends in .gz."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def text_lines(path: Path, encoding: str = "utf-8-sig") -> IO[str]:
    """The lines of a file as text, unzipped where its name ends in .gz; a byte order mark is dropped."""
    return io.TextIOWrapper(binary_lines(path), encoding=encoding, newline="")


def row_numbers(numbers: Iterable[int]) -> pl.Series:
    """The `numbers` of a RawBatch."""
    return pl.Series("row", list(numbers), dtype=pl.Int64)


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


_UNREADABLE: Final = (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)


def _readable(path: Path, batches: Callable[[int], Iterator[RawBatch]]) -> Callable[[int], Iterator[RawBatch]]:
    """`batches`, with what a damaged file raises turned into a DataError."""

    def guarded(batch_rows: int) -> Iterator[RawBatch]:
        try:
            yield from batches(batch_rows)
        except _UNREADABLE as error:
            raise _unreadable(path, error) from None

    return guarded


def _unreadable(path: Path, error: Exception) -> DataError:
    kind = "gzip file" if path.suffix == ".gz" else "file"
    return DataError(f"{path}: damaged {kind}: {_first_sentence(error)}")


def _first_sentence(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")[:200]
