"""`recsys ingest sample`: the simulated storefront, written as files and ingested like any shop's tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from features.workspace.record_file import RecordFile
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError
from recsys.simulate import simulate
from recsys.simulate.storefront import END


@dataclass(frozen=True)
class SampleArguments:
    """The options of a sample. end: its last day (ISO), None for the default."""

    products: int
    shoppers: int
    days: int
    seed: int
    end: str | None = None

    def options(self) -> str:
        """As they are passed on the command line."""
        options = f"--products {self.products} --shoppers {self.shoppers} --days {self.days} --seed {self.seed}"
        return f"{options} until {self.end}" if self.end else options


ARGUMENTS: Final = RecordFile("arguments.json", TypeAdapter(SampleArguments))
"""In the folder of the sample's files."""


def make_sample(
    folder: Path,
    *,
    n_products: int,
    n_shoppers: int,
    days: int,
    seed: int,
    end: datetime = END,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> SourceSpec:
    """Simulate the storefront up to `end` into `folder`; returns the spec of the files. The same arguments give the
    same files.

    Raises DataError where `folder` holds another storefront, since a lake must not mix two of them.
    """
    arguments = SampleArguments(n_products, n_shoppers, days, seed, None if end == END else f"{end:%Y-%m-%d}")
    before = ARGUMENTS.find(folder)
    if before is not None and before != arguments:
        remedy = "choose another --workspace, or use these options"
        raise DataError(f"{folder}: holds the sample of {before.options()}; {remedy}")
    folder.mkdir(parents=True, exist_ok=True)
    ARGUMENTS.write(folder, arguments)
    files = simulate(
        folder, n_products=n_products, n_shoppers=n_shoppers, days=days, seed=seed, end=end, progress=progress
    )
    paths = {"events": files.events, "catalog": (files.catalog,), "reviews": files.reviews}
    return SourceSpec(
        "table", {table: tuple(str(path.absolute()) for path in written) for table, written in paths.items()}
    )
