from pathlib import Path

import pytest

from jobs.sources.sample import make_sample
from recsys.errors import DataError

SMALL = {"n_products": 10, "n_shoppers": 5, "days": 3}


def test_the_same_storefront_may_be_made_again(tmp_path: Path) -> None:
    assert make_sample(tmp_path, **SMALL, seed=0) == make_sample(tmp_path, **SMALL, seed=0)


def test_another_storefront_is_refused_in_the_same_place(tmp_path: Path) -> None:
    make_sample(tmp_path, **SMALL, seed=0)
    with pytest.raises(DataError, match=r"--products 10 --shoppers 5 --days 3 --seed 0; choose another --workspace"):
        make_sample(tmp_path, **SMALL, seed=1)
