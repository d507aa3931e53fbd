"""JSON: one object a line, one list, an object that wraps a list, or one object."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import ijson
import orjson
import polars as pl

from jobs.ingest.column_aliases import plain_name
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.delimited import damaged
from jobs.ingest.readers.raw import MAX_STORED_CHARS, BrokenRow, RawBatch, Rows, row_numbers
from jobs.ingest.readers.text import encoding_of
from recsys.errors import DataError

PEEKED_OBJECTS: Final = 1000
"""The columns of a JSON file are those of so many objects, whatever the batch size."""

MAX_DOCUMENT_BYTES: Final = 64 << 20
"""One object that is no list is read whole."""

_WRAPPERS: Final = frozenset(
    {
        *("orders", "products", "reviews", "events", "customers", "visits", "items", "records", "rows", "entries"),
        *("data", "result", "results", "value", "values", "hits", "edges", "nodes", "response", "feed", "list"),
    }
)
"""Names under which an API's answer holds its list."""

_ABOUT_A_LIST: Final = frozenset(
    {
        *("count", "total", "totalcount", "page", "pages", "perpage", "pagesize", "limit", "offset", "next", "cursor"),
        *("previous", "nextpage", "nextcursor", "hasmore", "status", "success", "code", "message", "version", "took"),
        *("timestamp", "object", "url"),
    }
)
"""Plain values beside a wrapped list; an object with any other plain value is a record itself."""

_MAX_DEPTH: Final = 100
"""Of lists and objects in each other. ijson keeps the path of each level, so that deep nesting would fill memory."""

_PEEKED_PARTS: Final = 5_000
"""Of a document, to see whether more than the list is in it; one with more parts is no single record."""

Line = dict[str, Any]


def read_objects(
    file: DataFile, parse: Callable[[bytes], Line | None] | None = None
) -> Iterator[tuple[int, Line | BrokenRow]]:
    """The objects of a file, numbered by line, or by place in a list. A line that is none breaks the rule `json`.

    parse: reads one line, where the lines are not plain JSON. Raises DataError for a file that cannot be read.
    """
    try:
        prefix = None if parse else list_prefix(file)
        if prefix is None:
            yield from _lines(file, parse or parse_json)
        elif prefix == "":
            yield 1, _document(file)
        else:
            yield from _listed(file, prefix)
    except (OSError, EOFError, zlib.error, UnicodeError, ijson.JSONError) as error:
        raise damaged(file, error) from None


def parse_json(line: bytes) -> Line | None:
    """The object of one JSON line; None where the line is not one."""
    try:
        value = orjson.loads(line)
    except ValueError:
        try:
            value = json.loads(line)  # takes NaN and lone surrogates
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def dump_json(value: Line) -> bytes:
    """An object as one line of JSON."""
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace")


def list_prefix(file: DataFile) -> str | None:
    """Where a document's objects are: "item" for a list, "orders.item" in a wrapping object, "" for one object; None
    for JSON lines."""
    with _utf8(file) as content:
        line = content.readline(1 << 20)
        while line and not line.strip():
            line = content.readline(1 << 20)
        rest = content.readline(1 << 20).strip()
    if line.lstrip().startswith(b"["):
        return "item"
    if not line.lstrip().startswith(b"{"):
        return None
    first = parse_json(line)
    if (rest and (first is not None or parse_json(rest) is not None)) or (not rest and first and not _wraps(first)):
        return None
    with _utf8(file) as content:
        return _wrapped_prefix(file, content)


def open_rows(
    file: DataFile,
    parse: Callable[[bytes], Line | None] | None = None,
    convert: Callable[[Line], Line] = lambda line: line,
) -> Rows:
    """The objects of a file as rows of text; lists and objects inside them stay JSON.

    convert: renames and reshapes an object before its values become text. Raises DataError where none of the first
    lines is an object.
    """

    def objects() -> Iterator[tuple[int, Line | BrokenRow]]:
        for number, line in read_objects(file, parse):
            yield number, line if isinstance(line, BrokenRow) else convert(line)

    peeked = list(islice(objects(), PEEKED_OBJECTS))
    columns = tuple(dict.fromkeys(key for _, line in peeked if not isinstance(line, BrokenRow) for key in line))
    if peeked and not columns:
        n = len(peeked)
        raise DataError(f"{file}: none of its first {n} lines is a JSON object with fields; write one object a line")

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        source = objects()
        while batch := list(islice(source, batch_rows)):
            good = [(number, line) for number, line in batch if not isinstance(line, BrokenRow)]
            names = dict.fromkeys((*columns, *(key for _, line in good for key in line)))
            texts = {name: [as_text(line.get(name)) for _, line in good] for name in names}
            yield RawBatch(
                pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String), height=len(good)),
                row_numbers(number for number, _ in good),
                tuple(line for _, line in batch if isinstance(line, BrokenRow)),
            )

    return Rows(columns, batches)


def as_text(value: Any) -> str | None:
    """The text of a JSON value: whole numbers without a fraction, lists and objects as JSON, null as None."""
    if value is None:
        return None
    if isinstance(value, str):  # a lone surrogate, legal in JSON, is not in UTF-8
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()


def _utf8(file: DataFile) -> Any:
    """The content as UTF-8 without a byte order mark."""
    stream = file.open()
    mark = stream.peek(3)[:3]
    if mark == b"\xef\xbb\xbf":
        stream.read(3)
        return stream
    if mark[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in mark:
        stream.close()
        return _Recoded(file)
    return stream


class _Recoded:
    """A file in another encoding, as lines and blocks of UTF-8."""

    def __init__(self, file: DataFile) -> None:
        self._text = io.TextIOWrapper(file.open(), encoding=encoding_of(file))

    def __enter__(self) -> _Recoded:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def __iter__(self) -> Iterator[bytes]:
        return (line.encode() for line in self._text)

    def readline(self, size: int = -1) -> bytes:
        return self._text.readline(size).encode()

    def read(self, size: int = -1) -> bytes:
        return self._text.read(size).encode()


def _lines(file: DataFile, parse: Callable[[bytes], Line | None]) -> Iterator[tuple[int, Line | BrokenRow]]:
    with _utf8(file) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            parsed = parse(line)
            if parsed is None:
                yield number, BrokenRow(number, "json", line.decode("utf-8", "replace").strip()[:MAX_STORED_CHARS])
            else:
                yield number, parsed


def _listed(file: DataFile, prefix: str) -> Iterator[tuple[int, Line | BrokenRow]]:
    with _utf8(file) as content:
        events = _bounded(file, content)
        for number, entry in enumerate(ijson.items(events, prefix), start=1):
            if not isinstance(entry, dict):
                yield number, BrokenRow(number, "json", _json(entry)[:MAX_STORED_CHARS])
            elif set(entry) <= {"node", "cursor"} and isinstance(entry.get("node"), dict):  # of GraphQL
                yield number, entry["node"]
            else:
                yield number, entry


def _document(file: DataFile) -> Line:
    with _utf8(file) as content:
        data = content.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DataError(f"{file}: one JSON object of more than {MAX_DOCUMENT_BYTES >> 20} MiB; write one object a line")
    parsed = parse_json(data)
    if parsed is None:
        raise DataError(f"{file}: neither JSON lines nor a JSON document; write one object a line")
    return parsed


def _bounded(file: DataFile, content: Any) -> Iterator[tuple[str, str, Any]]:
    """The parser's events with their places. Raises DataError where the document nests deeper than exports do."""

    def events() -> Iterator[tuple[str, Any]]:
        depth = 0
        for event, value in ijson.basic_parse(content):
            if event.startswith("start_"):
                depth += 1
                if depth > _MAX_DEPTH:
                    raise DataError(f"{file}: JSON nested more than {_MAX_DEPTH} levels deep; nothing was ingested")
            elif event.startswith("end_"):
                depth -= 1
            elif event == "number" and not isinstance(value, int):
                value = float(value)
            yield event, value

    yield from ijson.parse(events())


def _wraps(parsed: Line | None) -> bool:
    """Whether a whole document on one line is the wrapper of a list, or may be."""
    if parsed is None:
        return True
    plain = [name for name, value in parsed.items() if not isinstance(value, list | dict)]
    return all(_is_about_a_list(name) for name in plain) and len(plain) < len(parsed)


def _wrapped_prefix(file: DataFile, content: Any) -> str:
    """The place of the list that an object wraps, "" where it wraps none: it is a record itself."""
    prefix_of_list = ""
    for n_parts, (prefix, event, _) in enumerate(_bounded(file, content)):
        names = prefix.split(".")
        if event == "start_array" and not prefix_of_list and _WRAPPERS.issuperset(names):
            prefix_of_list = f"{prefix}.item"
        if prefix_of_list and n_parts > _PEEKED_PARTS:
            break
        if event in ("string", "number", "boolean") and len(names) == 1 and not _is_about_a_list(prefix):
            return ""
    return prefix_of_list


def _is_about_a_list(name: str) -> bool:
    return plain_name(name) in _ABOUT_A_LIST


def first_objects(file: DataFile, n: int) -> Sequence[Line]:
    """The first objects, for a look at what they are."""
    return [line for _, line in islice(read_objects(file), n) if not isinstance(line, BrokenRow)]
