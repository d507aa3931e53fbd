"""With little new data, a run reuses what the served release has learned, and only continues to train its models.

Source weights, ranker and number of epochs are learned from thousands of choices: one percent more changes nothing. So
they are reused, and the sequence model continues from the release's own for a few epochs, the trial model from the
release's trial. At regular intervals, and with more new data, there is a full retrain (docs/decisions.md).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from features.store.store import Release, Store
from features.workspace.erasure_receipt import trained_with_erased
from jobs.nightly.publish import ReleaseInputs, read_release_inputs
from jobs.training.warm_start import AS_OF, FOLDER
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
    """The release whose models this run continues to train. first, trial, final: its models of the data before its
    validation days, before its last days, and of all data."""

    release_id: str
    made_from: ReleaseInputs
    first: SequenceModel
    trial: Model
    final: Model


def trial_folder(workspace: Workspace, release_id: str) -> Path:
    """The folder of a release's trial model, which has not seen the days it was measured on."""
    return workspace.runs / release_id / TRIAL


def find_reusable_release(
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
    """The served release, where little has happened since the last full retrain; else None.

    rules: digest of the settings and code that shape a model; the release must have the same. None also where its trial
    has seen the days that this run is measured on, and (logged) where it has learned from a shopper who was erased
    since or a part of it cannot be read.
    """
    served = store.current_id()
    inputs = read_release_inputs(workspace, served) if served else None
    if served is None or inputs is None or inputs.rules != rules or not inputs.learned_at:
        return None
    if served in trained_with_erased(workspace):
        log.warning("release_not_reused release_id=%s reason=has learned from an erased shopper", served)
        return None
    age = as_of - datetime.fromisoformat(inputs.learned_at)
    n_new = abs(n_events - inputs.n_events)
    is_old = not timedelta(0) <= age < timedelta(days=settings.full_retrain_days)
    if is_old or n_new >= settings.full_retrain_share * n_events:
        return None
    try:
        release = store.open(served)
        seen_until = AS_OF.read(trial_folder(workspace, served))
        fits = release.manifest.encoder_id == encoder_id and release.manifest.as_of <= as_of
        return load_reused_release(workspace, release) if fits and seen_until <= test_cut else None
    except (StoreError, OSError, ValueError) as error:
        log.warning("release_not_reused release_id=%s reason=%s", served, error)
        return None


def load_reused_release(workspace: Workspace, release: Release) -> ReusedRelease:
    """Its models. Raises StoreError where one cannot be read."""
    first, trial = release.model_dir / FOLDER, trial_folder(workspace, release.release_id)
    inputs = read_release_inputs(workspace, release.release_id) or ReleaseInputs()
    return ReusedRelease(
        release.release_id, inputs, SequenceModel.load(first), Model.load(trial), Model.load(release.model_dir)
    )


def align_items(item_ids: pl.Series, sequence: SequenceModel, its_items: pl.Series) -> SequenceModel:
    """The model renumbered from `its_items` to the items of this run."""
    return sequence.renumbered(positions(item_ids, its_items))
