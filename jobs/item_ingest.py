"""Item changes of the day into the lake's catalogue, field by field: what a change leaves out stays as it was.

`lake/item_changes.json` says how far the changes have been read; it is written after the lake's commit, and a change
that is read twice changes nothing.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from features.durable import write_atomically
from features.item_changes import FIELDS, ItemChanges
from features.lease import hold_lease
from jobs.checking import check_rows
from jobs.ingest import LEASE, LEASE_MINUTES
from jobs.lake import TABLES, Lake
from jobs.merge import merge_table
from jobs.quarantine import QuarantineFile, as_given
from jobs.staging import Staging
from recsys.config import Ingest
from recsys.errors import DataError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

POSITION_FILE: Final = "item_changes.json"


def ingest_items(workspace: Workspace, changes: ItemChanges, settings: Ingest, now: datetime) -> tuple[int, int]:
    """Returns how many products of the catalogue are new or changed, and the version up to which it holds the changes.

    A shop without a catalogue sells what its events mention: one product of its own would end that, so there nothing
    is taken, and the service goes on to apply the changes. Raises StoreError where they cannot be read.
    """
    with hold_lease(workspace.lake / LEASE, now, LEASE_MINUTES):
        lake = Lake(workspace.lake)
        if not lake.n_rows("catalog"):
            return 0, 0
        path = workspace.lake / POSITION_FILE
        after = _read_position(path, changes.database.id)
        changed = changes.after(after)
        if changed.is_empty():
            return 0, after
        rows = _whole(changed, lake.scan("catalog").collect())
        checked = check_rows("catalog", rows, now + timedelta(hours=settings.future_slack_hours))
        source = Path(f"{changes.database.shown} from item change {after + 1}")
        digest = f"items-{changes.database.id}-{after}"
        with (
            Staging(workspace.lake / "staging") as staging,
            QuarantineFile(workspace.quarantine / "catalog", source, digest) as quarantine,
        ):
            bad = list(checked.bad_rows)
            quarantine.add(bad, list(checked.bad_rules), as_given(rows[bad]))
            staging.add("catalog", checked.good)
            merged = merge_table(lake, staging, "catalog", settings.batch_rows) if staging.tables() else None
            if merged and merged.files:
                lake.commit(merged.files)
        version = int(changed["version"].max())  # type: ignore[arg-type]
        content = {"version": 1, "database_id": changes.database.id, "item_version": version}
        write_atomically(path, json.dumps(content).encode())
    n_changed = merged.n_new + merged.n_updated if merged else 0
    log.info("item_changes_ingested read=%d changed=%d bad=%d", changed.height, n_changed, len(bad))
    return n_changed, version


def _whole(changed: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """Rows of the catalogue: what a change leaves out is what the catalogue says; a new product is available."""
    known = changed.join(catalog, on="item_id", how="left", suffix="_known", maintain_order="left")
    fields = [pl.coalesce(name, f"{name}_known").alias(name) for name in FIELDS]
    filled = known.with_columns(fields).with_columns(pl.col("available").fill_null(True), unreadable=pl.lit(""))
    return filled.select(*TABLES["catalog"].polars_schema(), "unreadable")


def _read_position(path: Path, database_id: str) -> int:
    """Where the last night stopped in this very database, 0 in another. Raises DataError where the file is damaged."""
    try:
        position = json.loads(path.read_bytes())
        return int(position["item_version"]) if position["database_id"] == database_id else 0
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: damaged position in the item changes ({error}); remove it, and all of them are read again"
        ) from None
