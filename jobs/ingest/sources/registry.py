"""Where tables come from: each source turns a `SourceSpec` into files of raw rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.amazon import open_amazon
from jobs.ingest.sources.completejourney import open_completejourney
from jobs.ingest.sources.connectors import open_recognised
from jobs.ingest.sources.movielens import open_movielens
from jobs.ingest.sources.spec import SourceSpec
from jobs.ingest.sources.table import open_table

SOURCES: Final[Mapping[str, Callable[[SourceSpec], list[RawFile]]]] = {
    "table": open_table,
    "amazon": open_amazon,
    "movielens": open_movielens,
    "completejourney": open_completejourney,
}
"""Source name -> its opener, for the sources that are not connectors. The sample storefront writes files and goes
through `table` (`jobs/ingest/sources/sample.py`)."""


def open_source(spec: SourceSpec) -> list[RawFile]:
    """The files of a spec; "auto" and the platforms of the connectors recognise each file by its content."""
    return SOURCES.get(spec.source, open_recognised)(spec)
