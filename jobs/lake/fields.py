"""Rows of one item become one row: each field takes the last value that is not null.

Exports give an item several rows (its variants, its pictures, its store views), most of them blank in most columns, and
later files may carry prices alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl


def merge_fields(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """One row a key. rows: of the catalogue, oldest first, with their `arrival`, of which the highest stays.

    `attributes`, JSON objects as text, are merged key by key. An item for which no row says whether it is `available`
    is.
    """
    columns = rows.columns
    is_shared = pl.struct(key).is_duplicated()
    shared = rows.filter(is_shared)
    merged = rows.filter(~is_shared)
    if len(shared):
        last = {name: pl.col(name).drop_nulls().last() for name in columns if name not in {*key, "arrival"}}
        grouped = shared.group_by(key, maintain_order=True).agg(**last, arrival=pl.col("arrival").max())
        grouped = grouped.update(_merged_attributes(shared, key), on=key)
        merged = pl.concat([merged, grouped.select(columns)])
    return merged.with_columns(pl.col("available").fill_null(value=True))


def _merged_attributes(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The key and `attributes` of items whose rows have different ones."""
    texts = rows.filter(pl.col("attributes").is_not_null()).group_by(key, maintain_order=True).agg("attributes")
    texts = texts.filter(pl.col("attributes").list.n_unique() > 1)
    merged = [_merged(objects) for objects in texts["attributes"].to_list()]
    return texts.with_columns(pl.Series("attributes", merged, dtype=pl.String))


def _merged(texts: Sequence[str]) -> str:
    """JSON objects, oldest first, as one; a text that is none replaces those before it."""
    merged: dict[str, Any] = {}
    for text in texts:
        value = json.loads(text)
        if not isinstance(value, dict):
            return texts[-1]
        merged.update((name, element) for name, element in value.items() if element is not None)
    return json.dumps({name: merged[name] for name in sorted(merged)}, ensure_ascii=False)
