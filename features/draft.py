"""What is to become a release, and the rules it must keep before anything is written."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.manifest import BEGINNING, LivePosition
from recsys.errors import StoreError

KEYS: Final = {"items": "item_id", "users": "user_id", "reviews": "review_id"}
"""The tables of every release, and the column of each whose values are unique."""

_RELEASE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Draft:
    """A release to be published.

    tables: all of `KEYS`, any of them without rows; vectors are `pl.Array(pl.Float32, dim)`, a missing one is null.
    model_dir: a folder whose files are copied into the release. metrics: JSON, by slice.
    """

    release_id: str
    as_of: datetime
    tables: Mapping[str, pl.DataFrame]
    model_dir: Path
    encoder_id: str
    encoder_sha256: str
    config_sha256: str
    metrics: Mapping[str, Any]
    live: LivePosition = BEGINNING


def check_draft(draft: Draft, published: Container[str]) -> None:
    """Raise StoreError naming the first rule that the draft breaks; `published`: the ids that are taken."""
    where = f"release {draft.release_id}"
    if not _RELEASE_ID.fullmatch(draft.release_id):
        raise StoreError(f"release id {draft.release_id!r}: use letters, digits, '.', '_' and '-'")
    if draft.release_id in published:
        raise StoreError(f"{where}: published already, and releases never change; take a new id")
    if draft.as_of.tzinfo is None:
        raise StoreError(f"{where}: as_of {draft.as_of} has no time zone; pass UTC")
    if draft.tables.keys() != KEYS.keys():
        raise StoreError(f"{where}: has tables {', '.join(draft.tables)}; pass {', '.join(KEYS)}")
    if not draft.model_dir.is_dir():
        raise StoreError(f"{where}: no model folder {draft.model_dir}")
    for name, key in KEYS.items():
        _check_table(f"{where}, table {name}", draft.tables[name], key)


def _check_table(where: str, frame: pl.DataFrame, key: str) -> None:
    if key not in frame.columns:
        raise StoreError(f"{where}: no column {key}; it has {', '.join(frame.columns)}")
    if n_null := frame[key].null_count():
        raise StoreError(f"{where}: {n_null} rows without {key}")
    repeated = frame[key].filter(frame[key].is_duplicated())
    if len(repeated):
        raise StoreError(f"{where}: {len(repeated)} rows share their {key} with another, e.g. {repeated[0]}")
    for column in frame.columns:
        if frame.schema[column].base_type() is pl.Array and (n_bad := (~frame[column].explode().is_finite()).sum()):
            raise StoreError(f"{where}: {n_bad} values of {column} are not finite; a missing vector is null")
    if "encoder" in frame.columns and frame["encoder"].n_unique() > 1:
        first, second = frame["encoder"].unique().sort()[:2]
        raise StoreError(f"{where}: vectors of {first} and of {second} in one release; embed all with one")
