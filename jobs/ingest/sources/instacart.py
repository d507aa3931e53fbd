"""Instacart's data set of 2017: orders, their products, and the names of products, aisles and departments.

Orders have no dates. Each shopper's history begins on the day that `--first-day` gives; the days since the prior order
add up from there, and the hour of the day is kept.

Source: https://www.kaggle.com/competitions/instacart-market-basket-analysis/data
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import polars as pl

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead, read_head
from jobs.ingest.readers.raw import RawBatch, RawFile
from jobs.ingest.readers.rows import any_rows
from jobs.ingest.sources.connector import Connector, has_columns
from jobs.ingest.sources.records import COLUMNS
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

LABEL: Final = "Instacart"

_ORDERS: Final = ("order_id", "user_id", "order_number", "order_hour_of_day", "days_since_prior_order")
_LINES: Final = ("order_id", "product_id", "add_to_cart_order", "reordered")
_PRODUCTS: Final = ("product_id", "product_name", "aisle_id", "department_id")
_NAMES: Final = {"aisle": ("aisle_id", "aisle"), "department": ("department_id", "department")}


def recognises(head: FileHead) -> bool:
    layouts = (_ORDERS, _LINES, _PRODUCTS, *_NAMES.values())
    return any(has_columns(head, *layout) for layout in layouts)


def open_files(files: Sequence[DataFile], spec: SourceSpec) -> list[RawFile]:
    """The order lines, joined to their orders, and the products, joined to their names.

    Raises DataError where the orders of order lines are missing, or the first day is.
    """
    heads = {file: read_head(file) for file in files}

    def having(layout: tuple[str, ...]) -> list[DataFile]:
        return [file for file in files if has_columns(heads[file], *layout)]

    orders, lines, products = having(_ORDERS), having(_LINES), having(_PRODUCTS)
    opened: list[RawFile] = []
    if lines:
        if not orders:
            raise DataError(f"{lines[0]}: order lines without orders; give orders.csv as well")
        first_day = _first_day(lines[0], spec)
        others = tuple(file.path for file in orders)
        opened += [_file(file, "events", _events(file, orders, first_day), others) for file in lines]
    if products:
        names = {name: having(layout) for name, layout in _NAMES.items()}
        others = tuple(file.path for named in names.values() for file in named)
        opened += [_file(file, "catalog", _catalog(file, names), others) for file in products]
    if not opened:
        raise DataError(f"{files[0]}: neither order lines nor products; give order_products__*.csv or products.csv")
    return opened


CONNECTOR: Final = Connector("instacart", LABEL, recognises, open_files)

_Batches = Callable[[int], Iterator[RawBatch]]


def _file(file: DataFile, table: str, batches: _Batches, others: Sequence[Path]) -> RawFile:
    return RawFile(table, file.path, COLUMNS[table], batches, (file.path, *others), format=LABEL)


def _first_day(file: DataFile, spec: SourceSpec) -> date:
    given = spec.options.first_day
    try:
        return date.fromisoformat(given)
    except ValueError:
        fault = f"--first-day {given}: no date" if given else f"{file}: Instacart's orders have no dates"
        raise DataError(f"{fault}; say when the histories begin, for example --first-day 2017-01-01") from None


def _events(file: DataFile, orders: Sequence[DataFile], first_day: date) -> _Batches:
    def batches(batch_rows: int) -> Iterator[RawBatch]:
        dated = _dated_orders(orders, first_day)
        for batch in any_rows(file).batches(batch_rows):
            joined = batch.rows.join(dated, on="order_id", how="left", maintain_order="left")
            rows = joined.select(
                pl.format("instacart:{}:{}", "order_id", "product_id").alias("event_id"),
                "user_id",
                pl.col("product_id").alias("item_id"),
                pl.lit("purchase").alias("event_type"),
                "timestamp",
                pl.col("order_id").alias("session_id"),
            )
            yield RawBatch(rows, batch.numbers, batch.broken)

    return batches


def _dated_orders(files: Sequence[DataFile], first_day: date) -> pl.DataFrame:
    """order_id, user_id, timestamp."""
    rows = pl.concat([batch.rows.select(_ORDERS) for file in files for batch in any_rows(file).batches(1_000_000)])
    number, days = (
        pl.col("order_number").cast(pl.Int32),
        pl.col("days_since_prior_order").cast(pl.Float64, strict=False),
    )
    day = days.fill_null(0).cum_sum().over("user_id", order_by=number)
    start = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC)
    hour = pl.col("order_hour_of_day").cast(pl.Int64, strict=False).fill_null(0)
    at = pl.lit(start) + pl.duration(days=day.cast(pl.Int64), hours=hour)
    return rows.select("order_id", "user_id", at.alias("timestamp"))


def _catalog(file: DataFile, names: dict[str, list[DataFile]]) -> _Batches:
    def batches(batch_rows: int) -> Iterator[RawBatch]:
        tables = {name: _names(files, *_NAMES[name]) for name, files in names.items()}
        for batch in any_rows(file).batches(batch_rows):
            rows = batch.rows
            for name, table in tables.items():
                rows = rows.join(table, on=_NAMES[name][0], how="left", maintain_order="left")
            path = pl.concat_str("department", "aisle", separator=" > ", ignore_nulls=True)
            columns = (pl.col("product_id").alias("item_id"), pl.col("product_name").alias("title"))
            yield RawBatch(rows.select(*columns, path.alias("category")), batch.numbers, batch.broken)

    return batches


def _names(files: Sequence[DataFile], key: str, name: str) -> pl.DataFrame:
    frames = [batch.rows.select(key, name) for file in files for batch in any_rows(file).batches(100_000)]
    return pl.concat(frames) if frames else pl.DataFrame(schema={key: pl.String, name: pl.String})
