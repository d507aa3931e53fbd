"""Where tables come from: each source turns a `SourceSpec` into files of raw rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from jobs.sources.amazon import open_amazon
from jobs.sources.completejourney import open_completejourney
from jobs.sources.files import RawFile
from jobs.sources.movielens import open_movielens
from jobs.sources.spec import SourceSpec
from jobs.sources.table import open_table

SOURCES: Final[Mapping[str, Callable[[SourceSpec], list[RawFile]]]] = {
    "table": open_table,
    "amazon": open_amazon,
    "movielens": open_movielens,
    "completejourney": open_completejourney,
}
"""Source name -> its opener. The sample storefront writes files and goes through `table` (`jobs/sources/sample.py`)."""
