"""The lake's tables, read through its manifest; writing them is `jobs/lake.py`'s."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

import polars as pl

from recsys.errors import DataError
from recsys.tables import Catalog, Events, Reviews

SCHEMAS: Final = {"events": Events, "catalog": Catalog, "reviews": Reviews}


def lake_table(lake: Path, name: Literal["events", "catalog", "reviews"]) -> pl.LazyFrame:
    """The rows that the lake's manifest lists, empty where nothing was ingested; no order is promised.

    Raises DataError where the manifest cannot be read or a file is missing.
    """
    schema = {column: of.dtype for column, of in SCHEMAS[name].columns().items()}
    manifest = lake / "manifest.json"
    try:
        listed = json.loads(manifest.read_bytes())["files"] if manifest.exists() else []
        files = [lake / entry["path"] for entry in listed if entry["table"] == name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{manifest}: cannot be read ({error}); restore it") from None
    if missing := [file for file in files if not file.exists()]:
        raise DataError(f"{missing[0]}: missing, 1 of {len(files)} files of {name}; restore it, or ingest again")
    if not files:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(files, schema=schema, hive_partitioning=False)
