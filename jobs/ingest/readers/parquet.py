"""Parquet files, with their types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.delimited import damaged
from jobs.ingest.readers.raw import RawBatch, Rows, row_numbers
from recsys.errors import DataError


def open_rows(file: DataFile, columns: Sequence[str] = ()) -> Rows:
    """The rows of a Parquet file; of the named columns alone, as far as it has them.

    Raises DataError where its content is not Parquet.
    """
    try:
        with file.local() as path, pa.parquet.ParquetFile(path) as parquet:
            names, n_rows = tuple(parquet.schema_arrow.names), parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")[:200]
        raise DataError(f"{file}: not a Parquet file ({reason})") from None

    chosen = [name for name in names if not columns or name in columns]

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        number = 1
        try:
            with file.local() as path, pa.parquet.ParquetFile(path) as parquet:
                for batch in parquet.iter_batches(batch_size=batch_rows, columns=chosen):
                    rows = pl.DataFrame(pa.Table.from_batches([batch]))
                    yield RawBatch(rows, row_numbers(range(number, number + rows.height)))
                    number += rows.height
            pa.default_memory_pool().release_unused()  # what comes next takes its memory elsewhere
        except (pa.ArrowException, OSError) as error:
            raise damaged(file, error) from None

    return Rows(tuple(chosen), batches, n_rows)
