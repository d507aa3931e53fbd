from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from jobs.ingest.sources.sample import make_sample
from recsys.errors import DataError

SMALL = {"n_products": 10, "n_shoppers": 5, "days": 3}


def test_the_same_storefront_may_be_made_again(tmp_path: Path) -> None:
    assert make_sample(tmp_path, **SMALL, seed=0) == make_sample(tmp_path, **SMALL, seed=0)


def test_another_storefront_is_refused_in_the_same_place(tmp_path: Path) -> None:
    make_sample(tmp_path, **SMALL, seed=0)
    with pytest.raises(DataError, match=r"--products 10 --shoppers 5 --days 3 --seed 0; choose another --workspace"):
        make_sample(tmp_path, **SMALL, seed=1)


def test_the_days_of_a_sample_end_where_they_are_asked_to(tmp_path: Path) -> None:
    end = datetime(2026, 3, 1, tzinfo=UTC)
    spec = make_sample(tmp_path, n_products=10, n_shoppers=20, days=3, seed=0, end=end)
    times = pl.concat([pl.read_parquet(path) for path in spec.paths["events"]])["timestamp"]
    assert datetime(2026, 2, 26, tzinfo=UTC) <= times.min() and times.max() < end  # type: ignore[operator]
    with pytest.raises(DataError, match="--seed 0 until 2026-03-01; choose"):
        make_sample(tmp_path, n_products=10, n_shoppers=20, days=3, seed=0)
