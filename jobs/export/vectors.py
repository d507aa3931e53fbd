"""The vectors of a release's items, shoppers or reviews as a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import polars as pl
import pyarrow as pa

from features.store.manifest import KEYS
from features.store.store import Release, Store
from jobs.export.audience import ErasedShoppers, erased_shoppers
from jobs.export.choices import Format, Space, VectorTable
from jobs.export.output_file import check_target, output_file
from recsys.config import Settings
from recsys.errors import DataError, StoreError
from recsys.workspace import Workspace

BATCH_ROWS: Final = 4_096

_SPACES: Final = {Space.FUSED: "vector", Space.TEXT: "text_vector", Space.CF: "cf_vector"}
COLUMNS: Final = {VectorTable.ITEMS: _SPACES, VectorTable.USERS: _SPACES, VectorTable.REVIEWS: {Space.TEXT: "vector"}}
"""Column of the release's table by space."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class VectorsRequest:
    """space: by default the first that the table has; release_id: by default the served one."""

    table: VectorTable
    space: Space | None = None
    release_id: str | None = None


@dataclass(frozen=True)
class VectorsReport:
    """n_null: rows whose vector is null; n_erased: rows left out."""

    release_id: str
    space: Space
    dim: int
    n_rows: int
    n_null: int
    n_erased: int
    seconds: float


def export_vectors(
    workspace: Workspace,
    settings: Settings,
    request: VectorsRequest,
    form: Format,
    path: Path,
    progress: Progress,
    *,
    overwrite: bool = False,
) -> VectorsReport:
    """Write id, vector (float32) and release_id of every row of the table, as they are in the release. Rows of erased
    shoppers, and of those who wait to be erased, are left out.

    Raises StoreError without a release, and where a shopper is erased meanwhile; DataError for a format, space or path
    that cannot be used. In each case nothing is written.
    """
    started = monotonic()
    if form is Format.CSV:
        raise DataError("--format csv: a vector has no place in a CSV file; choose parquet or jsonl")
    space = _space(request)
    check_target(path, overwrite=overwrite)
    release = Store(workspace).open(request.release_id, verify=False)
    name, column = request.table.value, COLUMNS[request.table][space]
    dim = _dim(release, name, column)
    schema = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), dim)), ("release_id", pa.string())])
    erased = erased_shoppers(workspace, settings)
    key = KEYS[name]
    columns = list(dict.fromkeys([key, column, *(["user_id"] if "user_id" in release.columns(name) else [])]))
    n_read = n_rows = n_null = 0
    with output_file(path, form, schema) as write:
        for rows in release.batches(name, columns, BATCH_ROWS):
            chosen = _not_erased(rows, erased)
            write(chosen.select(id=key, vector=column, release_id=pl.lit(release.release_id)))
            n_read, n_rows = n_read + rows.height, n_rows + chosen.height
            n_null += chosen[column].null_count()
            progress(f"vectors of {name}", n_read, release.manifest.rows[name])
        if erased_shoppers(workspace, settings) != erased:
            raise StoreError(f"{workspace.shown}: a shopper was erased during the export; export again")
    return VectorsReport(release.release_id, space, dim, n_rows, n_null, n_read - n_rows, monotonic() - started)


def _space(request: VectorsRequest) -> Space:
    spaces = COLUMNS[request.table]
    if request.space is None:
        return next(iter(spaces))
    if request.space not in spaces:
        raise DataError(f"--vector {request.space}: {request.table} have no such vectors; choose {', '.join(spaces)}")
    return request.space


def _dim(release: Release, name: str, column: str) -> int:
    kind = release.schema(name)[column]
    if not isinstance(kind, pl.Array):
        raise StoreError(f"release {release.release_id}, table {name}: column {column} holds {kind}, not vectors")
    return kind.size


def _not_erased(rows: pl.DataFrame, erased: ErasedShoppers) -> pl.DataFrame:
    if not erased or "user_id" not in rows.columns:
        return rows
    return rows.filter(pl.Series([user_id not in erased for user_id in rows["user_id"]], dtype=pl.Boolean))
