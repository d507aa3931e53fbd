"""`recsys ingest sample`: the simulated storefront, written as files and ingested like any shop's tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jobs.sources.spec import SourceSpec
from recsys.simulate import simulate


def make_sample(
    folder: Path,
    *,
    n_products: int,
    n_shoppers: int,
    days: int,
    seed: int,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> SourceSpec:
    """Simulate the storefront into `folder`; the spec of the files it wrote. The same arguments give the same files."""
    files = simulate(folder, n_products=n_products, n_shoppers=n_shoppers, days=days, seed=seed, progress=progress)
    paths = {"events": files.events, "catalog": (files.catalog,), "reviews": files.reviews}
    return SourceSpec(
        "table", {table: tuple(str(path.absolute()) for path in written) for table, written in paths.items()}
    )
