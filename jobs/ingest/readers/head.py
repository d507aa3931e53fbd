"""What a file is, by a look at its beginning: content first, name second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from jobs.ingest.readers import delimited, excel, json_documents, parquet
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.xml_documents import root_name
from recsys.errors import DataError

Kind = Literal["delimited", "json", "xml", "parquet", "excel"]

PEEKED_ROWS: Final = 20

_WORKBOOKS: Final = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_OLD_EXCEL: Final = b"\xd0\xcf\x11\xe0"
_MARKS: Final = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"


@dataclass(frozen=True)
class FileHead:
    """columns: the header, the keys of the first objects, or the top-level names of Parquet; of a file without a header
    the cells of its first line. rows: the first rows or objects. root: local name of an XML root element."""

    file: DataFile
    kind: Kind
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    root: str = ""


def read_head(file: DataFile, columns: Sequence[str] | None = None) -> FileHead:
    """A look at a file. columns: the names, where it has no header. Raises DataError for what is none of the kinds."""
    kind = kind_of(file)
    if kind == "xml":
        return FileHead(file, kind, (), (), root_name(file))
    if kind == "json":
        objects = json_documents.first_objects(file, PEEKED_ROWS)
        names = tuple(dict.fromkeys(key for line in objects for key in line))
        return FileHead(file, kind, names, tuple(objects))
    if kind == "delimited":
        rows = delimited.open_rows(file, columns or None)
    else:
        rows = parquet.open_rows(file) if kind == "parquet" else excel.open_rows(file, columns or None)
    batch = next(rows.batches(PEEKED_ROWS), None)
    first = () if batch is None else tuple(batch.rows.head(PEEKED_ROWS).iter_rows(named=True))
    return FileHead(file, kind, rows.columns, first)


def kind_of(file: DataFile) -> Kind:
    """By the first bytes. Raises DataError for binary files of no known kind, and for web pages."""
    with file.open() as content:
        start = content.read(4096)
    if not start.strip():
        raise DataError(f"{file}: the file is empty")
    if start.startswith(b"PAR1") or file.name.lower().endswith((".parquet", ".pq")):
        return "parquet"
    if start.startswith(b"PK") and file.name.lower().endswith(".zip"):
        raise DataError(f"{file}: a damaged archive, or one inside another; unpack it and give its files")
    if start.startswith((b"PK\x03\x04", _OLD_EXCEL)) or file.name.lower().endswith(_WORKBOOKS):
        return "excel"
    if start.startswith(b"%PDF"):
        raise DataError(f"{file}: a PDF document, not an export; export the table as CSV")
    text = start.lstrip(_MARKS).replace(b"\x00", b"")
    if text[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise DataError(f"{file}: a web page, not an export; sign in and download the file itself")
    if text.startswith(b"<"):
        return "xml"
    if text.startswith((b"{", b"[")) or file.name.lower().endswith((".jsonl", ".ndjson", ".json")):
        return "json"
    is_wide = start[:2] in (b"\xff\xfe", b"\xfe\xff") or start[1:2] == b"\x00" or start[:1] == b"\x00"
    if b"\x00" in start and not is_wide:
        raise DataError(f"{file}: unknown kind of file; known are CSV, TSV, JSON, XML, Parquet and Excel, also zipped")
    return "delimited"
