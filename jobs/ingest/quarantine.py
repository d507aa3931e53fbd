"""Rows that broke a rule, stored beside the lake as they were given, for a person to inspect."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from jobs.ingest.persons import mask_row

SCHEMA: Final = pa.schema(
    [("source_file", pa.string()), ("row", pa.int64()), ("rules", pa.string()), ("data", pa.string())]
)


class QuarantineFile:
    """The bad rows of one source file, one Parquet file: source_file, row (from 1), rules, data (JSON).

    Named by the digest of the source's content, so that a renamed file has the same quarantine file. A context manager:
    on exit, the file of an earlier ingest of that content is replaced, or deleted where no row is bad any more.
    """

    def __init__(self, folder: Path, source: Path, digest: str) -> None:
        self.path = folder / f"{digest[:16]}.parquet"
        self._source = source
        self._writing = self.path.with_suffix(".tmp")
        self._writer: pa.parquet.ParquetWriter | None = None

    def add(self, numbers: list[int], rules: list[str], data: list[str]) -> None:
        """Add rows, given as equally long lists."""
        if not numbers:
            return
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pa.parquet.ParquetWriter(self._writing, SCHEMA)
        sources = [str(self._source)] * len(numbers)
        self._writer.write_table(pa.table([sources, numbers, rules, data], schema=SCHEMA))

    def __enter__(self) -> QuarantineFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
            if error is None:
                self._writing.replace(self.path)
            else:
                self._writing.unlink()
        elif error is None:
            self.path.unlink(missing_ok=True)


def as_given(rows: pl.DataFrame) -> list[str]:
    """Each row as a JSON object of the source's columns, without what tells who somebody is."""
    return [mask_row(row) for row in rows.iter_rows(named=True)]
