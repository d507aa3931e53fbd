"""Item changes sent to the service, into the lake's catalogue, field by field: fields not in a change stay as they
were.

Changes are taken before each file that has products, and by the nightly run, so that the lake takes files and changes
in the order in which they came. `lake/item_changes.json` holds the version up to which the changes have been read. It
is written after the lake's commit; a change that is read twice changes nothing.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from features.live.database import open_live_database
from features.live.item_changes import ItemChanges, with_changes
from jobs.ingest.commit import RangeTaken, commit_ingest
from jobs.ingest.offsets import ITEMS_READ
from jobs.ingest.quarantine import QuarantineFile, as_given
from jobs.ingest.validation import check_rows
from jobs.lake.lake import TABLES, Lake
from jobs.lake.merge import merge_table
from jobs.lake.staging import Staging
from jobs.lake.writer_lease import hold_lake
from recsys.config import IngestSettings
from recsys.workspace import Workspace

log = logging.getLogger(__name__)


def ingest_items(
    workspace: Workspace, changes: ItemChanges, settings: IngestSettings, now: datetime
) -> tuple[int, int]:
    """Returns how many products of the catalogue are new or changed, and the version up to which it holds the changes.

    Without a catalogue, the items that events mention are the products. A catalogue of a few changed products would
    replace all of these, so then nothing is taken, and the service goes on applying the changes. Raises StoreError
    where the changes cannot be read.
    """
    with hold_lake(workspace.lake, now):
        if not Lake(workspace.lake).n_rows("catalog"):
            return 0, 0
        return _take_new(workspace, changes, settings, now)


def ingest_items_before(workspace: Workspace, settings: IngestSettings, now: datetime, events_url: str) -> None:
    """Take the changes that came before a file with products.

    The caller holds the lake, and adds a catalogue, so it does not matter whether there is one. events_url: of the live
    database, "" for the workspace's own. Raises StoreError where the database cannot be read.
    """
    database = open_live_database(workspace, events_url)
    if not database.exists:
        return
    try:
        _take_new(workspace, ItemChanges(database), settings, now)
    finally:
        database.close()


def ingest_items_again(
    workspace: Workspace, changes: ItemChanges, after: int, up_to: int, settings: IngestSettings, now: datetime
) -> int:
    """Take the changes with versions in (after, up_to] that no later one of the same field has replaced, whatever was
    read before; the offset does not change. Returns how many products are new or changed."""
    with hold_lake(workspace.lake, now):
        changed = changes.database.patiently(partial(changes.after, after, up_to))
        return _take(workspace, changes, changed, after, up_to, settings, now) if len(changed) else 0


def _take_new(workspace: Workspace, changes: ItemChanges, settings: IngestSettings, now: datetime) -> tuple[int, int]:
    database_id = changes.database.id
    after = ITEMS_READ.read(workspace.lake, database_id)
    changed = changes.database.patiently(partial(changes.after, after))
    if changed.is_empty():
        return 0, after
    version = int(changed["version"].max())  # type: ignore[arg-type]
    n_changed = _take(workspace, changes, changed, after, version, settings, now)
    ITEMS_READ.write(workspace.lake, database_id, version)
    return n_changed, version


def _take(
    workspace: Workspace,
    changes: ItemChanges,
    changed: pl.DataFrame,
    after: int,
    up_to: int,
    settings: IngestSettings,
    now: datetime,
) -> int:
    lake = Lake(workspace.lake)
    rows = _whole(changed, lake.scan("catalog").collect())
    checked = check_rows("catalog", rows, now + timedelta(hours=settings.future_slack_hours))
    shown, database_id = changes.database.shown, changes.database.id
    source = Path(f"{shown} from item change {after + 1}")
    with (
        Staging(workspace.lake / "staging-items") as staging,
        QuarantineFile(workspace.quarantine / "catalog", source, f"items-{database_id}-{after}") as quarantine,
    ):
        bad = list(checked.bad_rows)
        quarantine.add(bad, list(checked.bad_rules), as_given(rows[bad]))
        staging.add("catalog", checked.good)
        merged = {
            table: merge_table(lake, staging, table, settings.batch_rows, whole_rows=True) for table in staging.tables()
        }
        taken = RangeTaken("item changes", database_id, shown, after, up_to)
        commit_ingest(lake, staging, merged, taken, now, settings.undo_history)
    n_changed = sum(table.n_new + table.n_updated for table in merged.values())
    log.info("item_changes_ingested read=%d changed=%d bad=%d", changed.height, n_changed, len(bad))
    return n_changed


def _whole(changed: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """Rows of the catalogue: missing fields are filled from the catalogue; a new product is available."""
    known = changed.select("item_id", "updated_at").join(
        catalog.drop("updated_at"), on="item_id", how="left", maintain_order="left"
    )
    filled = with_changes(known, changed).with_columns(pl.col("available").fill_null(True), unreadable=pl.lit(""))
    return filled.select(*TABLES["catalog"].polars_schema(), "unreadable")
