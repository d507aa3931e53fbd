"""Which files of the lake are live, and how to read them: shared by jobs, service and notebooks.

Only `jobs/lake/lake.py` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import dataframely as dy
import polars as pl
from pydantic import TypeAdapter

from recsys.errors import DataError
from recsys.tables import Aliases, Catalog, Events, Reviews

MANIFEST: Final = "manifest.json"
EVENT_DAY: Final = "day=%Y-%m-%d"
"""The partition of an event, by its timestamp."""

SCHEMAS: Final[Mapping[str, type[dy.Schema]]] = {
    "catalog": Catalog,
    "aliases": Aliases,
    "events": Events,
    "reviews": Reviews,
}
"""Items come before what names them."""


@dataclass(frozen=True)
class LakeFile:
    """One live file. `path` is relative to the lake, `digest` the SHA-256 of the content."""

    table: str
    partition: str
    path: str
    rows: int
    digest: str


@dataclass(frozen=True)
class _LiveFiles:
    """The part of the lake's manifest that readers need; other keys are ignored."""

    files: tuple[LakeFile, ...]


_MANIFEST: Final = TypeAdapter(_LiveFiles)


def read_manifest(path: Path) -> tuple[LakeFile, ...]:
    """The live files, none where there is no lake yet. Raises DataError where the manifest cannot be read."""
    try:
        return _MANIFEST.validate_json(path.read_bytes()).files
    except FileNotFoundError:
        return ()
    except ValueError as error:
        raise DataError(
            f"{path}: damaged lake manifest ({error}); restore it, or remove {path.parent} and ingest again"
        ) from None


def scan_files(root: Path, table: str, live: Sequence[LakeFile]) -> pl.LazyFrame:
    """Their rows, typed as the table's schema, empty without files. Raises DataError where one is missing."""
    missing = [file.path for file in live if not (root / file.path).exists()]
    if missing:
        raise DataError(
            f"{root}: {len(missing)} of {len(live)} files of {table} are missing, the first is {missing[0]}; "
            f"restore them, or remove {root} and ingest again"
        )
    schema = {name: column.dtype for name, column in SCHEMAS[table].columns().items()}
    if not live:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet([root / file.path for file in live], schema=schema, hive_partitioning=False)


def scan_table(root: Path, table: str) -> pl.LazyFrame:
    """The rows of a table as the lake stands, in no order, empty where nothing was ingested. Raises DataError."""
    return scan_files(root, table, [file for file in read_manifest(root / MANIFEST) if file.table == table])


def scan_events(root: Path, since: datetime) -> pl.LazyFrame:
    """The events of a lake from `since` on, in no order; days before it are not opened. Raises DataError."""
    live = [
        file
        for file in read_manifest(root / MANIFEST)
        if file.table == "events" and file.partition >= since.strftime(EVENT_DAY)
    ]
    return scan_files(root, "events", live).filter(pl.col("timestamp") >= since)
