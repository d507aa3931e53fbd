import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.errors import DataError
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)
OLD_REVIEW = {
    "reviewerID": "A1",
    "asin": "B1",
    "overall": 4.0,
    "summary": "Good &amp; cheap",
    "reviewText": "Works.<br />Really.",
    "unixReviewTime": 1393545600,
}
NEW_REVIEW = {
    "user_id": "A1",
    "parent_asin": "P1",
    "asin": "B1",
    "rating": 4.0,
    "title": "Good & cheap",
    "text": "Works. Really.",
    "timestamp": 1393545600000,
    "verified_purchase": True,
}


def take(workspace: Workspace, table: str, path: Path) -> pl.DataFrame:
    ingest(workspace, SourceSpec("amazon", {table: (str(path),)}), IngestSettings(), NOW)
    return Lake(workspace.lake).scan(table).sort("item_id").collect()


def json_lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize(
    ("line", "item_id"),
    [
        (OLD_REVIEW, "B1"),
        (OLD_REVIEW | {"vote": "3", "style": {"Size:": " L"}, "verified": True}, "B1"),
        (NEW_REVIEW, "P1"),
    ],
    ids=["2014", "2018", "2023"],
)
def test_reviews_of_every_release_say_the_same(
    workspace: Workspace, tmp_path: Path, line: dict[str, Any], item_id: str
) -> None:
    row = take(workspace, "reviews", json_lines(tmp_path / "r.json", line)).row(0, named=True)
    text = " ".join(row.pop("text").split())
    assert row.pop("review_id")
    assert text == "Works. Really."
    assert row == {
        "user_id": "A1",
        "item_id": item_id,
        "rating": 4.0,
        "title": "Good & cheap",
        "timestamp": datetime(2014, 2, 28, tzinfo=UTC),
    }


def test_products_of_2014_are_python_literals(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    path.write_text(
        "{'asin': 'B1', 'title': \"Men's Shirt\", 'price': 9.5, 'brand': 'Acme', "
        "'categories': [['Clothing'], ['Clothing', 'Shirts &amp; Tops']], 'description': 'Soft.'}\n"
    )
    row = take(workspace, "catalog", path).row(0, named=True)
    assert (row["title"], row["price"], row["brand"]) == ("Men's Shirt", 9.5, "Acme")
    assert (row["category"], row["description"]) == ("Clothing > Shirts & Tops", "Soft.")


def test_products_of_2018_carry_lists_and_prices_in_text(workspace: Workspace, tmp_path: Path) -> None:
    first = {"asin": "B1", "title": "Lamp", "category": ["Home", "Lamps"], "price": "$1,012.99", "feature": ["Warm."]}
    second = {
        "asin": "B2",
        "title": "Bulb",
        "price": ".a-box-inner{background-color:#fff}#alohaBuyBoxWidget",
        "category": [],
    }
    third = {"asin": "B3", "title": "Shade", "price": "$4.00 - $9.00", "description": ["Round.", "Red."]}
    rows = take(workspace, "catalog", json_lines(tmp_path / "meta.json", first, second, third))
    assert rows["price"].to_list() == [1012.99, None, 4.0]
    assert rows["category"].to_list() == ["Home > Lamps", None, None]
    assert rows["description"].to_list() == ["Warm.", None, "Round. Red."]


def test_products_of_2023_are_the_parents(workspace: Workspace, tmp_path: Path) -> None:
    line = {
        "parent_asin": "P1",
        "main_category": "All Beauty",
        "title": "Salt spray",
        "store": "Sea",
        "price": None,
        "categories": [],
        "features": ["Smells of sea."],
        "description": ["Beachy waves."],
        "details": {"Scent": "Coconut", "Brand": "Sea"},
    }
    row = take(workspace, "catalog", json_lines(tmp_path / "meta.jsonl", line)).row(0, named=True)
    assert (row["item_id"], row["brand"], row["price"]) == ("P1", "Sea", None)
    assert (row["category"], row["description"]) == ("All Beauty", "Beachy waves. Smells of sea.")
    assert row["attributes"] == '{"Brand": "Sea", "Scent": "Coconut"}'


def test_a_line_that_would_run_code_is_only_a_broken_line(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    path.write_text("{'asin': 'B1', 'title': 'Lamp'}\n{'asin': __import__('os').getcwd()}\n")
    with pytest.raises(DataError, match=r"1 of 2 rows are bad .* json 1"):
        take(workspace, "catalog", path)


@pytest.mark.parametrize("table", ["reviews", "catalog"])
def test_files_of_another_kind_are_refused(workspace: Workspace, tmp_path: Path, table: str) -> None:
    path = json_lines(tmp_path / "x.json", {"name": "x", "stars": 3})
    with pytest.raises(DataError, match=r"not an Amazon .* it has name, stars"):
        take(workspace, table, path)
