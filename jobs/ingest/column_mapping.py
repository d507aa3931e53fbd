"""Maps the columns of a source to the columns of our tables, with a helpful error where one is missing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jobs.ingest.sources.files import RawFile
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import TABLES
from recsys.errors import DataError

DERIVED: Final = frozenset({"event_id", "review_id", "available"})
"""Required columns that `cast_rows` fills where the source has none."""

MAX_COLUMNS_SHOWN: Final = 12


@dataclass(frozen=True)
class Naming:
    """Our column -> the source's column, and our column -> a constant."""

    columns: Mapping[str, str]
    constants: Mapping[str, str]


def name_columns(raw: RawFile, spec: SourceSpec) -> Naming:
    """The naming of one file: constants, then `--map`, then columns that have our name already.

    Raises DataError naming the column, the file, its columns and the option to use, where a mapped or required
    column is missing or a column is both mapped and constant.
    """
    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    for ours in TABLES[raw.table].polars_schema():
        target = f"{raw.table}.{ours}"
        if target in spec.constants and target in spec.columns:
            raise DataError(f"{target} is given by --map and by --set; keep one of them")
        if target in spec.constants:
            constants[ours] = spec.constants[target]
        elif target in spec.columns:
            columns[ours] = spec.columns[target]
            if columns[ours] not in raw.columns:
                raise _missing(raw, columns[ours], target)
        else:
            columns[ours] = ours
    for ours, rule in TABLES[raw.table].schema.columns().items():
        if not rule.nullable and ours not in DERIVED and ours not in constants and columns[ours] not in raw.columns:
            raise _missing(raw, ours, f"{raw.table}.{ours}")
    given = {*constants, *(ours for ours, source_column in columns.items() if source_column in raw.columns)}
    if raw.table == "events" and not given & {"item_id", "text"}:
        raise _missing(raw, "item_id", "events.item_id")
    return Naming(columns, constants)


def _missing(raw: RawFile, column: str, target: str) -> DataError:
    shown = ", ".join(raw.columns[:MAX_COLUMNS_SHOWN]) + (", …" if len(raw.columns) > MAX_COLUMNS_SHOWN else "")
    nearest = difflib.get_close_matches(column, raw.columns, n=1, cutoff=0.5)
    remedy = f"name it with --map {target}={nearest[0] if nearest else 'COLUMN'}"
    if target == "events.event_type":
        remedy += " or fill it with --set events.event_type=purchase"
    return DataError(f"{raw.path}: no column {column!r} for {target}; the file has {shown}; {remedy}")
