"""The file of an export: written beside its target under another name, and renamed when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.workspace.atomic_files import sync
from jobs.export.choices import Format
from recsys.errors import DataError, ResourceError

WriteRows = Callable[[pl.DataFrame], None]


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise DataError, before the work begins, where the file cannot be written there."""
    if path.is_dir():
        raise DataError(f"--out {path}: a folder; name a file, such as {path / 'export.parquet'}")
    if path.exists() and not overwrite:
        raise DataError(f"--out {path}: exists already; pass --overwrite to replace it")
    if not path.absolute().parent.is_dir():
        raise DataError(f"--out {path}: folder {path.absolute().parent} does not exist; create it first")


@contextmanager
def output_file(path: Path, form: Format, schema: pa.Schema) -> Iterator[WriteRows]:
    """A function that appends rows. The file appears at `path` when the block ends; after an error or Ctrl-C nothing is
    left, and a file that was there before stays.

    schema: of a Parquet file; the other formats write the rows as they are. Raises ResourceError where the disk
    refuses.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file, _writer(file, form, schema) as write:
            yield write
        sync(draft)
        draft.replace(path)
    except OSError as error:
        raise ResourceError(
            f"--out {path}: cannot be written ({error.strerror or error}); free or choose a disk"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _writer(file: Any, form: Format, schema: pa.Schema) -> Iterator[WriteRows]:
    if form is Format.PARQUET:
        with pq.ParquetWriter(file, schema, compression="zstd") as parquet:
            yield lambda rows: parquet.write_table(rows.to_arrow().select(schema.names).cast(schema))
    elif form is Format.CSV:
        file.write((",".join(schema.names) + "\n").encode())
        yield lambda rows: rows.select(schema.names).write_csv(file, include_header=False)
    else:
        yield lambda rows: rows.write_ndjson(file)
