"""A folder for the fits of the benchmark of quality."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers on `bench_data()`: fits that several models share are computed once."""
    return tmp_path_factory.mktemp("bench")
