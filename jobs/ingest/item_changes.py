"""Item changes sent to the service, into the lake's catalogue, field by field: fields not in a change stay as they
were.

`lake/item_changes.json` holds the version up to which the changes have been read. It is written after the lake's
commit; a change that is read twice changes nothing.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from features.live.item_changes import FIELDS, ItemChanges
from features.workspace.lease import hold_lease
from jobs.ingest.commit import RangeTaken, commit_ingest
from jobs.ingest.files import LEASE, LEASE_MINUTES
from jobs.ingest.offsets import ITEMS_READ
from jobs.ingest.quarantine import QuarantineFile, as_given
from jobs.ingest.validation import check_rows
from jobs.lake.lake import TABLES, Lake
from jobs.lake.merge import merge_table
from jobs.lake.staging import Staging
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
    with hold_lease(workspace.lake / LEASE, now, LEASE_MINUTES):
        if not Lake(workspace.lake).n_rows("catalog"):
            return 0, 0
        database_id = changes.database.id
        after = ITEMS_READ.read(workspace.lake, database_id)
        changed = changes.database.patiently(partial(changes.after, after))
        if changed.is_empty():
            return 0, after
        n_changed = _take(workspace, changes, changed, after, settings, now)
        version = int(changed["version"].max())  # type: ignore[arg-type]
        ITEMS_READ.write(workspace.lake, database_id, version)
    return n_changed, version


def ingest_items_again(
    workspace: Workspace, changes: ItemChanges, after: int, up_to: int, settings: IngestSettings, now: datetime
) -> int:
    """Take the changes with versions in (after, up_to] that no later one of the item has replaced, whatever was read
    before; the offset does not change. Returns how many products are new or changed."""
    with hold_lease(workspace.lake / LEASE, now, LEASE_MINUTES):
        changed = changes.database.patiently(partial(changes.after, after)).filter(pl.col("version") <= up_to)
        return _take(workspace, changes, changed, after, settings, now) if len(changed) else 0


def _take(
    workspace: Workspace,
    changes: ItemChanges,
    changed: pl.DataFrame,
    after: int,
    settings: IngestSettings,
    now: datetime,
) -> int:
    lake = Lake(workspace.lake)
    rows = _whole(changed, lake.scan("catalog").collect())
    checked = check_rows("catalog", rows, now + timedelta(hours=settings.future_slack_hours))
    shown, database_id = changes.database.shown, changes.database.id
    source = Path(f"{shown} from item change {after + 1}")
    with (
        Staging(workspace.lake / "staging") as staging,
        QuarantineFile(workspace.quarantine / "catalog", source, f"items-{database_id}-{after}") as quarantine,
    ):
        bad = list(checked.bad_rows)
        quarantine.add(bad, list(checked.bad_rules), as_given(rows[bad]))
        staging.add("catalog", checked.good)
        merged = {
            table: merge_table(lake, staging, table, settings.batch_rows, whole_rows=True) for table in staging.tables()
        }
        up_to = int(changed["version"].max())  # type: ignore[arg-type]
        taken = RangeTaken("item changes", database_id, shown, after, up_to)
        commit_ingest(lake, staging, merged, taken, now, settings.undo_history)
    n_changed = sum(table.n_new + table.n_updated for table in merged.values())
    log.info("item_changes_ingested read=%d changed=%d bad=%d", changed.height, n_changed, len(bad))
    return n_changed


def _whole(changed: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """Rows of the catalogue: missing fields are filled from the catalogue; a new product is available."""
    known = changed.join(catalog, on="item_id", how="left", suffix="_known", maintain_order="left")
    fields = [pl.coalesce(name, f"{name}_known").alias(name) for name in FIELDS]
    filled = known.with_columns(fields).with_columns(pl.col("available").fill_null(True), unreadable=pl.lit(""))
    return filled.select(*TABLES["catalog"].polars_schema(), "unreadable")
