"""A full feed is the whole catalogue: products that are not in it any more become unavailable."""

from __future__ import annotations

from typing import Final

import polars as pl

from jobs.lake.lake import TABLES, Lake
from jobs.lake.staging import Staging
from recsys.errors import DataError

MAX_MISSING: Final = 0.2
"""A feed that lacks a larger share of the available products is taken for a broken one."""


def stage_missing(lake: Lake, staging: Staging) -> int:
    """Stage the available products of the lake that are not among the staged ones as unavailable; returns how many.

    Raises DataError where more than a fifth would go.
    """
    if "catalog" not in staging.tables():
        raise DataError("--full: the files hold no products; give it only with a whole catalogue")
    available = lake.scan("catalog").filter("available").select("item_id")
    missing = available.join(staging.scan("catalog").select("item_id"), on="item_id", how="anti").collect()
    n_available = available.select(pl.len()).collect().item()
    if missing.height > MAX_MISSING * n_available:
        examples = ", ".join(missing["item_id"].sort().head(3))
        raise DataError(
            f"--full: {missing.height:,} of {n_available:,} available products are not in the files "
            f"(for example {examples}), more than a fifth; is the feed whole? Leave --full out to add and update only; "
            "nothing was ingested"
        )
    blank = {name: pl.lit(None, dtype) for name, dtype in TABLES["catalog"].polars_schema().items()}
    staging.add("catalog", missing.select("item_id", **(_without_id(blank) | {"available": pl.lit(value=False)})))
    return missing.height


def _without_id(columns: dict[str, pl.Expr]) -> dict[str, pl.Expr]:
    return {name: column for name, column in columns.items() if name != "item_id"}
