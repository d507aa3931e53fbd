"""`recsys ingest sample`: the simulated storefront, written as files and ingested like any shop's tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError
from recsys.simulate import simulate
from recsys.simulate.storefront import END


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
    """Simulate the storefront up to `end` into `folder`; the spec of the files. The same arguments give the same files.

    Raises DataError where `folder` holds another storefront: two of them in one lake would be neither.
    """
    arguments: dict[str, object] = {"products": n_products, "shoppers": n_shoppers, "days": days, "seed": seed}
    if end != END:
        arguments["end"] = f"{end:%Y-%m-%d}"
    noted = folder / "arguments.json"
    if noted.exists() and (before := json.loads(noted.read_text())) != arguments:
        ended = before.pop("end", None)
        options = " ".join(f"--{name} {value}" for name, value in before.items()) + (f" until {ended}" if ended else "")
        raise DataError(f"{folder}: holds the sample of {options}; choose another --workspace, or these numbers")
    folder.mkdir(parents=True, exist_ok=True)
    noted.write_text(json.dumps(arguments))
    files = simulate(
        folder, n_products=n_products, n_shoppers=n_shoppers, days=days, seed=seed, end=end, progress=progress
    )
    paths = {"events": files.events, "catalog": (files.catalog,), "reviews": files.reviews}
    return SourceSpec(
        "table", {table: tuple(str(path.absolute()) for path in written) for table, written in paths.items()}
    )
