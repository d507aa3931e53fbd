"""Lists made by Ray actors, each of which opens the release once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import ray
import ray.data

from features.store.release import load_release
from jobs.cluster.ray_cluster import start_ray
from jobs.export.lists import ListsRequest, Recipient, lists_of
from recsys.errors import StoreError
from recsys.workspace import Workspace


def worthwhile_workers() -> int:
    """As many as there are processors but one, which Ray Data needs for itself. Starts Ray."""
    start_ray()
    n_cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    return max(1, n_cpus - 1)


def lists_on_ray(
    workspace: Workspace,
    release_id: str,
    batches: Iterable[Sequence[Recipient]],
    request: ListsRequest,
    workers: int,
) -> Iterator[pl.DataFrame]:
    """`LISTS` of each batch, in their order. Raises StoreError where a worker does not see the workspace."""
    start_ray()
    blocks = [
        pa.table(
            {
                "user_id": pa.array([each.user_id for each in batch], pa.string()),
                "known_as": pa.array([each.known_as for each in batch], pa.string()),
            }
        )
        for batch in batches
    ]
    workers = min(workers, len(blocks))
    n_cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    dataset = ray.data.from_arrow(blocks).map_batches(
        _ListMaker,
        fn_constructor_kwargs={
            "folder": workspace.root.absolute(),
            "release_id": release_id,
            "count": request.count,
            "at": request.at,
        },
        batch_size=None,  # a whole block
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        # As in jobs/embedding: Ray Data can hang where its actors take every processor (ray#44687).
        num_cpus=min(1.0, n_cpus / (workers + 1)),
    )
    dataset.context.execution_options.preserve_order = True
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield cast(pl.DataFrame, pl.from_arrow(cast(Any, table)))


class _ListMaker:
    """The actor: opens the release once, then makes the lists of batch after batch."""

    def __init__(self, folder: Path, release_id: str, count: int, at: datetime) -> None:
        if not folder.is_dir():
            raise StoreError(
                f"{folder}: a worker on another machine does not see this folder; keep the workspace on a disk that "
                "all machines of the cluster share, or pass --workers 1"
            )
        self._recommender = load_release(Workspace(folder), release_id, hidden_reviews=()).recommender
        self._count, self._at = count, at

    def __call__(self, batch: pa.Table) -> pa.Table:
        pairs = zip(batch["user_id"].to_pylist(), batch["known_as"].to_pylist(), strict=True)
        lists = lists_of(self._recommender, [Recipient(*pair) for pair in pairs], self._count, self._at)
        return lists.to_arrow()
