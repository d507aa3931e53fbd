"""Where little is new, a night takes over what the served release has learned, and only touches its models up.

Weights of the sources, ranker and number of epochs rest on thousands of choices: a hundredth more moves nothing.
So they are taken over, and the sequence model goes on from the release's own for a few passes, that of the trial
from the release's trial. Every so often, and where more is new, all is learned from the start (docs/decisions.md).
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from features.store.store import Release, Store
from features.workspace.erasure_receipt import trained_with_erased
from jobs.nightly.publish import ReleaseInputs, made_from
from jobs.training.warm_start import AS_OF_FILE, FOLDER
from recsys import config
from recsys.errors import StoreError
from recsys.interactions import positions
from recsys.model import Model
from recsys.sequence import SequenceModel
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

TRIAL: Final = "trial"


@dataclass(frozen=True)
class ReusedRelease:
    """The release that tonight's models go on from. first, trial, final: its models of all before its validation days,
    of all before its last days, and of everything."""

    release_id: str
    made_from: ReleaseInputs
    first: SequenceModel
    trial: Model
    final: Model


def trial_folder(workspace: Workspace, release_id: str) -> Path:
    """Where the trial model of a release is kept, which knows nothing of the days it was measured on."""
    return workspace.runs / release_id / TRIAL


def find_base(
    workspace: Workspace,
    store: Store,
    settings: config.NightlySettings,
    *,
    rules: str,
    encoder_id: str,
    n_events: int,
    as_of: datetime,
    test_cut: datetime,
) -> ReusedRelease | None:
    """The served release, where little has happened since all was last learned from the start; else None.

    rules: digest of settings and code that shape a model; the release must have been made by the same. None also where
    its trial has seen what tonight's is measured on, and where it learned from a shopper who was erased since or a part
    of it cannot be read, which is logged.
    """
    served = store.current_id()
    told = made_from(workspace, served) if served else None
    if served is None or told is None or told.rules != rules or not told.learned_at:
        return None
    if served in trained_with_erased(workspace):
        log.warning("nothing taken over release_id=%s reason=it learned from a shopper who was erased since", served)
        return None
    age = as_of - datetime.fromisoformat(told.learned_at)
    is_new = abs(n_events - told.n_events)
    if (
        not timedelta(0) <= age < timedelta(days=settings.full_retrain_days)
        or is_new >= settings.full_retrain_share * n_events
    ):
        return None
    try:
        release = store.open(served)
        seen_until = json.loads((trial_folder(workspace, served) / AS_OF_FILE).read_text())
        fits = release.manifest.encoder_id == encoder_id and release.manifest.as_of <= as_of
        return load_base(workspace, release) if fits and datetime.fromisoformat(seen_until) <= test_cut else None
    except (StoreError, OSError, ValueError) as error:
        log.warning("nothing taken over release_id=%s reason=%s", served, error)
        return None


def load_base(workspace: Workspace, release: Release) -> ReusedRelease:
    """Its models. Raises StoreError where one cannot be read."""
    first, trial = release.model_dir / FOLDER, trial_folder(workspace, release.release_id)
    told = made_from(workspace, release.release_id) or ReleaseInputs()
    return ReusedRelease(
        release.release_id, told, SequenceModel.load(first), Model.load(trial), Model.load(release.model_dir)
    )


def align_items(item_ids: pl.Series, sequence: SequenceModel, its_items: pl.Series) -> SequenceModel:
    """A model over `its_items`, over tonight's."""
    return sequence.renumbered(positions(item_ids, its_items))
