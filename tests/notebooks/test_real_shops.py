"""Every notebook runs on shops of the world, too: one without reviews or prices, one in Vietnamese."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from conftest import publish_two_releases
from notebooks_run import NOTEBOOKS, run_notebooks
from shared_data import SHARED_DATA, needs_shared_data

from jobs.ingest.sources.spec import SourceSpec
from recsys.workspace import Workspace

pytestmark = [
    *needs_shared_data,
    pytest.mark.filterwarnings("default"),  # of Jupyter's own libraries
]


@pytest.fixture(scope="module")
def beauty(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The newest purchases of the most bought items of Amazon Beauty, after nights that are a hundred days apart."""
    folder = tmp_path_factory.mktemp("beauty")
    interactions = pl.read_parquet(SHARED_DATA / "amazon_beauty" / "interactions.parquet")
    purchases = newest_of_common(interactions, "asin", "timestamp")
    items = pl.read_parquet(SHARED_DATA / "amazon_beauty" / "items.parquet").join(purchases, on="asin", how="semi")
    columns = {"events.item_id": "asin", "catalog.item_id": "asin", "catalog.category": "categories"}
    source = written(folder, {"events": purchases, "catalog": items}, columns, {"events.event_type": "purchase"})
    publish_two_releases(Workspace(folder / "shop"), source, purchases["timestamp"].max() - timedelta(days=100))
    return Workspace(folder / "shop")


@pytest.fixture(scope="module")
def hasaki(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The newest reviews of a Vietnamese shop's most reviewed products, after nights that are a hundred days apart."""
    folder = tmp_path_factory.mktemp("hasaki")
    all_reviews = pl.read_parquet(SHARED_DATA / "hasaki" / "reviews_deduplicated.parquet").drop_nulls("ts")
    reviews = newest_of_common(all_reviews, "item_id", "ts").tail(300)
    products = pl.read_parquet(SHARED_DATA / "hasaki" / "products.parquet").join(reviews, on="item_id", how="semi")
    columns = {"reviews.review_id": "id", "reviews.timestamp": "ts", "reviews.text": "review"}
    tables = {"reviews": reviews, "catalog": products}
    source = written(folder, tables, columns | {"catalog.price": "price_vnd"})
    newest = cast(datetime, reviews["ts"].max())
    first = newest.replace(tzinfo=UTC) - timedelta(days=100)
    publish_two_releases(Workspace(folder / "shop"), source, first)
    return Workspace(folder / "shop")


def newest_of_common(rows: pl.DataFrame, item: str, time: str, n_items: int = 50, n_rows: int = 3000) -> pl.DataFrame:
    common = rows[item].value_counts(sort=True).sort("count", item, descending=True).head(n_items)
    return rows.join(common, on=item, how="semi").sort(time, "user_id").tail(n_rows)


def written(
    folder: Path, tables: dict[str, pl.DataFrame], columns: dict[str, str], constants: dict[str, str] | None = None
) -> SourceSpec:
    for name, rows in tables.items():
        rows.write_parquet(folder / f"{name}.parquet")
    return SourceSpec("table", {name: (str(folder / f"{name}.parquet"),) for name in tables}, columns, constants or {})


def test_they_run_on_what_was_bought(beauty: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_notebooks(NOTEBOOKS, beauty, tmp_path, monkeypatch)


def test_they_run_on_what_was_reviewed(hasaki: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_notebooks(NOTEBOOKS, hasaki, tmp_path, monkeypatch)
