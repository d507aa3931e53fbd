"""The lists of many shoppers as a file: what `POST /v1/recommend` answers for each, as of the release.

Lists are made in batches and written as they come, so memory does not grow with the number of shoppers, apart from
their ids. Many are made by Ray actors, each of which opens the release.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import polars as pl
import pyarrow as pa

from features.store.release import load_release
from features.workspace.user_ids import UserIds
from jobs.export.audience import audience, erased_shoppers
from jobs.export.choices import Format
from jobs.export.lists import ListsRequest, Recipient, lists_of
from jobs.export.output_file import check_target, output_file
from recsys.config import Settings
from recsys.errors import StoreError
from recsys.recommend import Recommender
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

BATCH_USERS: Final = 500
MIN_USERS_FOR_RAY: Final = 20_000
"""Starting Ray and opening the release in each actor takes longer than making fewer lists."""

ROWS: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("score", pa.float64()),
        ("source", pa.string()),
        ("fallback", pa.string()),
        ("release_id", pa.string()),
    ]
)
"""Columns of a Parquet or CSV file: a row an item, rank from 1."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class ListsReport:
    """n_unknown: shoppers whom the release does not know, who have the list of guests; n_not_personal: these, and known
    ones without a usable history; n_erased: left out; n_empty: lists without any item."""

    release_id: str
    n_users: int
    n_items: int
    n_unknown: int
    n_not_personal: int
    n_erased: int
    n_empty: int
    seconds: float


def export_recommendations(
    workspace: Workspace,
    settings: Settings,
    request: ListsRequest,
    form: Format,
    path: Path,
    progress: Progress,
    *,
    overwrite: bool = False,
) -> ListsReport:
    """Write the lists to `path`. Erased shoppers, and those who wait to be erased, are left out.

    Raises StoreError without a release, and where a shopper is erased meanwhile; DataError for users or a path that
    cannot be used. In each case nothing is written.
    """
    started = monotonic()
    check_target(path, overwrite=overwrite)
    loaded = load_release(workspace, request.release_id)
    recommender, release_id = loaded.recommender, loaded.release_id
    given = audience(request.users, recommender.users.rows)
    user_ids = UserIds.find(workspace)
    shoppers = [Recipient(each, user_ids.pseudonym(each) if user_ids and each else each) for each in given]
    chosen = _not_erased(shoppers, workspace, settings)
    counts = dict.fromkeys(("items", "personal", "empty", "users"), 0)
    lists = _lists(workspace, recommender, release_id, chosen, request)
    with output_file(path, form, ROWS) as write:
        for batch in lists:
            rows = batch.with_columns(release_id=pl.lit(release_id))
            write(rows if form is Format.JSONL else _flat(rows))
            sizes = batch["items"].list.len()
            counts["items"] += int(sizes.sum())
            counts["empty"] += int((sizes == 0).sum())
            counts["personal"] += batch["fallback"].null_count()
            counts["users"] += batch.height
            progress("lists", counts["users"], len(chosen))
        if len(_not_erased(chosen, workspace, settings)) < len(chosen):
            raise StoreError(f"{workspace.shown}: a shopper was erased while lists were made; export again")
    n_users = counts["users"]
    n_unknown = sum(each.known_as is not None and each.known_as not in recommender.users.rows for each in chosen)
    return ListsReport(
        release_id=release_id,
        n_users=n_users,
        n_items=counts["items"],
        n_unknown=n_unknown,
        n_not_personal=n_users - counts["personal"],
        n_erased=len(shoppers) - len(chosen),
        n_empty=counts["empty"],
        seconds=monotonic() - started,
    )


def _not_erased(shoppers: Sequence[Recipient], workspace: Workspace, settings: Settings) -> list[Recipient]:
    erased = erased_shoppers(workspace, settings)
    if not erased:
        return list(shoppers)
    return [each for each in shoppers if each.user_id not in erased and each.known_as not in erased]


def _flat(lists: pl.DataFrame) -> pl.DataFrame:
    """A row an item."""
    return (
        lists.filter(pl.col("items").list.len() > 0)
        .with_columns(rank=pl.int_ranges(1, pl.col("items").list.len() + 1, dtype=pl.Int32))
        .explode("rank", "items")
        .unnest("items")
    )


def _lists(
    workspace: Workspace, recommender: Recommender, release_id: str, shoppers: list[Recipient], request: ListsRequest
) -> Iterator[pl.DataFrame]:
    """Batches of lists, in the order of the shoppers."""
    batches = (shoppers[start : start + BATCH_USERS] for start in range(0, len(shoppers), BATCH_USERS))
    if request.workers != 1 and (request.workers or len(shoppers) >= MIN_USERS_FOR_RAY):
        # Only here: ray takes seconds to import.
        from jobs.export.list_workers import lists_on_ray, worthwhile_workers

        workers = request.workers or worthwhile_workers()
        if workers > 1:
            return lists_on_ray(workspace, release_id, batches, request, workers)
    return (lists_of(recommender, batch, request.count, request.at) for batch in batches)
