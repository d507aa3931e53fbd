"""The rows of any file with rows."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.ingest.readers import delimited, excel, json_documents, parquet
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import kind_of
from jobs.ingest.readers.raw import RawFile, Rows
from recsys.errors import DataError


def any_rows(file: DataFile, columns: Sequence[str] | None = None, sheet: str | None = None) -> Rows:
    """The rows of a delimited, JSON, Parquet or Excel file; text, but for Parquet.

    columns: names of a file without a header. sheet: of a workbook. Raises DataError for what has no rows.
    """
    match kind_of(file):
        case "delimited":
            return delimited.open_rows(file, columns)
        case "json":
            return json_documents.open_rows(file)
        case "parquet":
            return parquet.open_rows(file)
        case "excel":
            return excel.open_rows(file, columns, sheet)
        case _:
            raise DataError(f"{file}: XML has no columns; known XML formats go through `recsys ingest auto`")


def open_file(table: str, file: DataFile, columns: Sequence[str] | None = None, sheet: str | None = None) -> RawFile:
    """`any_rows` as a file of rows of `table`, whose columns are still to be named."""
    rows = any_rows(file, columns, sheet)
    return RawFile(table, file.path, rows.columns, rows.batches, (file.path,), rows.n_rows)
