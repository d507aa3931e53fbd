"""Vectors of a release as a file."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import PublishedShop

import jobs.export.vectors as under_test
from features.store.manifest import KEYS
from features.store.store import Store
from features.workspace.erased_users import add_erased
from jobs.export.choices import Format, Space, VectorTable
from jobs.export.vectors import COLUMNS, VectorsReport, VectorsRequest, export_vectors
from recsys.errors import DataError
from recsys.workspace import Workspace


def export(
    shop: PublishedShop,
    out: Path,
    table: VectorTable = VectorTable.ITEMS,
    space: Space | None = None,
    form: Format = Format.PARQUET,
    workspace: Workspace | None = None,
) -> VectorsReport:
    place, request = workspace or shop.workspace, VectorsRequest(table, space)
    return export_vectors(place, shop.settings, request, form, out, lambda *_: None)


@pytest.mark.parametrize(("table", "space"), [(table, space) for table, spaces in COLUMNS.items() for space in spaces])
def test_all_vectors_of_a_table_in_its_order(
    published_shop: PublishedShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: VectorTable, space: Space
) -> None:
    monkeypatch.setattr(under_test, "BATCH_ROWS", 16)
    report = export(published_shop, tmp_path / "vectors.parquet", table, space)
    rows = pl.read_parquet(tmp_path / "vectors.parquet")
    release = Store(published_shop.workspace).open()
    assert rows.columns == ["id", "vector", "release_id"]
    assert rows["vector"].dtype == pl.Array(pl.Float32, report.dim)
    assert rows["id"].equals(release.table(table.value)[KEYS[table.value]], check_names=False)
    expected = release.vectors(table.value, COLUMNS[table][space])
    assert np.array_equal(rows["vector"].to_numpy(), expected, equal_nan=True)
    assert rows["release_id"].unique().to_list() == [release.release_id] == [report.release_id]
    assert (report.n_rows, report.n_erased) == (len(expected), 0)


def test_json_lines_hold_the_same_numbers(published_shop: PublishedShop, tmp_path: Path) -> None:
    export(published_shop, tmp_path / "vectors.jsonl", form=Format.JSONL)
    rows = [json.loads(line) for line in (tmp_path / "vectors.jsonl").read_text().splitlines()]
    expected = Store(published_shop.workspace).open().vectors("items", "vector")
    assert np.array_equal(np.array([row["vector"] for row in rows], dtype=np.float32), expected)
    assert set(rows[0]) == {"id", "vector", "release_id"}


@pytest.mark.parametrize("table", [VectorTable.USERS, VectorTable.REVIEWS])
def test_rows_of_an_erased_shopper_are_left_out(
    published_shop: PublishedShop, tmp_path: Path, table: VectorTable
) -> None:
    shutil.copytree(published_shop.workspace.root, tmp_path / "shop")
    copied = Workspace(tmp_path / "shop")
    rows = (
        Store(copied).open().table(table.value, [KEYS[table.value], "user_id"] if table == "reviews" else ["user_id"])
    )
    user = rows["user_id"].drop_nulls()[0]
    add_erased(copied, user, datetime(2024, 6, 2, tzinfo=UTC))
    report = export(published_shop, tmp_path / "vectors.parquet", table, workspace=copied)
    going = rows.filter(pl.col("user_id") == user)[KEYS[table.value]].to_list()
    exported = pl.read_parquet(tmp_path / "vectors.parquet")["id"].to_list()
    assert report.n_erased == len(going) > 0
    assert exported == [each for each in rows[KEYS[table.value]].to_list() if each not in going]


def test_vectors_that_there_are_not(published_shop: PublishedShop, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="reviews have no such vectors; choose text"):
        export(published_shop, tmp_path / "vectors.parquet", VectorTable.REVIEWS, Space.CF)
    with pytest.raises(DataError, match="no place in a CSV file"):
        export(published_shop, tmp_path / "vectors.csv", form=Format.CSV)
    assert list(tmp_path.iterdir()) == []
