"""Gathers the input of the data checks: the lake's new events, the served release, and records of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.store.release import load_release
from features.store.store import Store
from jobs.gate.data_checks import Arrivals, NewData
from jobs.gate.data_profile import Window, profiles
from jobs.gate.findings import Finding
from jobs.gate.records import CHECKS, GATE, ChecksRecord, GateRecord
from jobs.gate.served_auc import ServedAuc, served_auc
from jobs.lake.lake import Lake
from jobs.lake.snapshot import Shop
from recsys.config import Settings
from recsys.workspace import Workspace

MAX_RUNS: Final = 28


def read_new_data(
    workspace: Workspace, shop: Shop, as_of: datetime, arrivals: Arrivals, settings: Settings
) -> NewData | None:
    """The new data before `as_of` since the served release; None in the first run, without anything to compare with.

    shop: as it was at `as_of`. Raises StoreError where the served release cannot be read.
    """
    store = Store(workspace)
    if store.current_id() is None:
        return None
    served = store.open(verify=False)  # `_auc_of_served` loads it, and checks every file
    window = Window.since(served.manifest.as_of, as_of)
    lake = Lake(workspace.lake)
    item_ids = shop.items["item_id"] if lake.n_rows("catalog") else None
    new, days = profiles(lake, window, item_ids, settings.checks.days, shop.robots["user_id"].to_list())
    columns = ("item_id", "price", "available")
    earlier = earlier_records(workspace.runs, [manifest.release_id for manifest in store.releases()])
    data = NewData(
        window=window,
        new=new,
        days=days,
        arrivals=arrivals,
        quarantined=[checks.quarantined for checks, _ in earlier if checks.quarantined is not None],
        before=served.table("items", columns),
        after=shop.items.select(columns),
    )
    auc = _auc_of_served(workspace, shop, window, served.manifest.as_of, settings)
    return replace(data, served_auc=auc, usual_auc=_usual_auc(earlier))


def checks_record(data: NewData | None, findings: Sequence[Finding]) -> ChecksRecord:
    """The findings, and the figures that later runs compare with."""
    record = ChecksRecord(tuple(findings))
    if data is None:
        return record
    return replace(
        record,
        window=(data.window.start, data.window.end),
        events=data.new.n_events,
        quarantined=data.arrivals.n_bad / data.arrivals.n_read if data.arrivals.n_read else None,
        served_auc=data.served_auc,
    )


def earlier_records(runs: Path, release_ids: Sequence[str]) -> list[tuple[ChecksRecord, GateRecord]]:
    """The records of checks and gate of the latest published runs, oldest first."""
    folders = [runs / release_id for release_id in release_ids[-MAX_RUNS:]]
    return [(CHECKS.find(folder) or ChecksRecord(), GATE.find(folder) or GateRecord()) for folder in folders]


def _auc_of_served(
    workspace: Workspace, shop: Shop, window: Window, served_until: datetime, settings: Settings
) -> ServedAuc | None:
    served = load_release(workspace).recommender
    start = max(window.start, served_until)  # the release has learned from everything before
    done = shop.events.filter(pl.col("timestamp") >= start)
    return served_auc(served, done, settings.checks.served_auc_users, settings.seed)


def _usual_auc(earlier: Sequence[tuple[ChecksRecord, GateRecord]]) -> ServedAuc | None:
    """The median over earlier runs: of served releases on new data, and of trials on their held-out days."""
    values = [auc for checks, gate in earlier for auc in (checks.served_auc, gate.trial_served_auc) if auc]
    if not values:
        return None
    median = float(np.median([auc.value for auc in values]))
    error = float(np.mean([auc.error for auc in values]) / np.sqrt(len(values)))
    return ServedAuc(median, error, sum(auc.n for auc in values))
