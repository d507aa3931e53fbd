"""What the data checks look at, gathered: the lake's new events beside the served release and earlier nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from features.store.release import load_release
from features.store.store import Store
from jobs.gate.data_checks import Arrivals, Foresight, NewData
from jobs.gate.data_profile import Window, profiles
from jobs.gate.findings import CHECKS_FILE, GATE_FILE, Finding
from jobs.gate.served_auc import served_auc
from jobs.lake.lake import Lake
from jobs.lake.snapshot import Shop
from jobs.nightly.record import read_record
from recsys.config import Settings
from recsys.workspace import Workspace

MAX_NIGHTS: Final = 28


def read_new_data(
    workspace: Workspace, shop: Shop, as_of: datetime, arrivals: Arrivals, settings: Settings
) -> NewData | None:
    """What is new before `as_of` since the served release; None on a first night, with nothing to be compared with.

    shop: as it stood at `as_of`. Raises StoreError where the served release cannot be read.
    """
    store = Store(workspace)
    if store.current_id() is None:
        return None
    served = store.open(verify=False)  # `_foresight` loads it, and looks at every file
    window = Window.since(served.manifest.as_of, as_of)
    lake = Lake(workspace.lake)
    item_ids = shop.items["item_id"] if lake.n_rows("catalog") else None
    new, days = profiles(lake, window, item_ids, settings.checks.days)
    told = ("item_id", "price", "available")
    nights = earlier_nights(workspace.runs, [manifest.release_id for manifest in store.releases()])
    data = NewData(
        window=window,
        new=new,
        days=days,
        arrivals=arrivals,
        quarantined=[float(night["quarantined"]) for night in nights if night.get("quarantined") is not None],
        before=served.table("items", told),
        after=shop.items.select(told),
    )
    return replace(
        data, foresight=_foresight(workspace, shop, window, served.manifest.as_of, settings), foreseen=_foreseen(nights)
    )


def checks_record(data: NewData | None, findings: Sequence[Finding]) -> dict[str, Any]:
    """What is kept of a night's checks: the findings, and what later nights compare with."""
    kept: dict[str, Any] = {"findings": [finding.as_json() for finding in findings]}
    if data is not None:
        kept["window"] = [data.window.start.isoformat(), data.window.end.isoformat()]
        kept["events"] = data.new.n_events
        kept["quarantined"] = data.arrivals.n_bad / data.arrivals.n_read if data.arrivals.n_read else None
        kept["foresight"] = as_json(data.foresight)
    return kept


def as_json(found: Foresight | None) -> dict[str, float] | None:
    """For the records of a run."""
    return {"value": found.value, "error": found.error, "n": found.n} if found else None


def earlier_nights(runs: Path, release_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """What checks and gate have kept of the last nights that were published, oldest first."""
    kept = (CHECKS_FILE, GATE_FILE)
    nights = ([read_record(runs / release_id / name) for name in kept] for release_id in release_ids[-MAX_NIGHTS:])
    return [{**checks, **gate} for checks, gate in nights]


def _foresight(
    workspace: Workspace, shop: Shop, window: Window, served_until: datetime, settings: Settings
) -> Foresight | None:
    served = load_release(workspace).recommender
    start = max(window.start, served_until)  # what the release has learned from is no foresight
    done = shop.events.filter(pl.col("timestamp") >= start)
    return served_auc(served, done, settings.checks.served_auc_users, settings.seed)


def _foreseen(nights: Sequence[Mapping[str, Any]]) -> Foresight | None:
    """The median of the earlier nights: of what a release foretold, and of what a trial did of its held-out days."""
    told = [night[kind] for night in nights for kind in ("foresight", "trial_foresight") if night.get(kind)]
    found = [Foresight(one["value"], one["error"], one["n"]) for one in told]
    if not found:
        return None
    values = np.array([one.value for one in found])
    errors = np.array([one.error for one in found])
    return Foresight(float(np.median(values)), float(errors.mean() / np.sqrt(len(found))), sum(one.n for one in found))
