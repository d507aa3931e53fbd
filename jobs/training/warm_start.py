"""Starts a sequence model from one of an earlier run that has not seen the days on which the new one is measured.

A nightly run fits the model three times: on data before the validation days, on data before the last days, and on
everything. The first model is stored with the release, beside the served one: the validation days of the next run are
later, so that run may start from it. The other two fits may start from the fit before them. All of this only where
`sequence.warm_start` is set: it saves time and costs quality (docs/decisions.md).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from features.store.store import Store
from features.workspace.erasure_receipt import trained_with_erased
from features.workspace.record_file import RecordFile
from jobs.training.fit import FitSequence
from jobs.training.sequence import train_sequence
from recsys import config
from recsys.config import Settings
from recsys.errors import StoreError
from recsys.interactions import positions
from recsys.model import Model
from recsys.sequence import SequenceModel, Sequences
from recsys.sequence.training import Epoch
from recsys.users import Users
from recsys.whitening import Whitening, has_texts

log = logging.getLogger(__name__)

FOLDER: Final = "warm_start"
AS_OF: Final = RecordFile("as_of.json", TypeAdapter(datetime))
"""Beside a model: it has seen nothing from this time on."""


@dataclass(frozen=True)
class WarmStart:
    """The first model of an earlier run, over the items of this one, and the whitening that its adapter reads."""

    sequence: SequenceModel
    whitening: Whitening


def read_warm_start(
    store: Store, encoder_id: str, item_ids: pl.Series, cut: datetime, settings: config.SequenceSettings
) -> WarmStart | None:
    """What the served release has stored for a model of the data before `cut`.

    None unless `settings.warm_start`; None also without a release, or where it was made with another encoder or without
    texts or cannot be read, where its model has seen something at or after `cut`, and where it has learned from a
    shopper who was erased since.
    """
    if not settings.warm_start or store.current_id() is None:
        return None
    try:
        release = store.open()
        folder = release.model_dir / FOLDER
        if release.manifest.encoder_id != encoder_id or AS_OF.read(folder) > cut:
            return None
        if release.release_id in trained_with_erased(store.workspace):
            log.warning("warm_start_skipped reason=the served release has learned from an erased shopper")
            return None
        model = Model.load(release.model_dir)
        if not has_texts(model.text):
            return None
        rows = positions(item_ids, model.item_ids)
        return WarmStart(SequenceModel.load(folder).renumbered(rows), model.whitening)
    except (StoreError, OSError, ValueError) as error:
        log.warning("warm_start_skipped reason=%s", error)
        return None


def save_warm_start(sequence: SequenceModel, as_of: datetime, model_dir: Path) -> None:
    """Store it beside a release's model files; as_of: it has seen nothing from this time on."""
    sequence.save(model_dir / FOLDER)
    AS_OF.write(model_dir / FOLDER, as_of)


@dataclass(frozen=True)
class SequenceFits:
    """Fits of one run. Each writes its state to `folder` after every epoch, so a killed run resumes from there.

    progress: called with the name of the fit and the result of the epoch.
    """

    folder: Path
    item_ids: pl.Series
    settings: Settings
    progress: Callable[[str, Epoch], None] | None = None

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def measured(self, targets: pl.DataFrame, start: WarmStart | None) -> FitSequence:
        """For a model of the data before `targets` (user_id, item_id): early stopping at the epoch that ranks them
        best. With fewer than `fusion.min_targets` targets there is no early stopping."""

        def fit(users: Users, text: np.ndarray | None, texts: np.ndarray | None) -> SequenceModel:
            judged = None
            if len(targets) >= self.settings.fusion.min_targets:
                judged = (histories_of(users, targets), positions(targets["item_id"], self.item_ids))
            return self._fit("first", users, text, texts, judged, start.sequence if start else None)

        return fit

    def again(self, name: str, before: SequenceModel | None) -> FitSequence:
        """A fit on more days than `before` was fitted on, in as many epochs as were best for it, or from its weights
        where `sequence.warm_start` is set; `name` is the name of the checkpoint."""

        def fit(users: Users, text: np.ndarray | None, texts: np.ndarray | None) -> SequenceModel:
            if self.settings.sequence.warm_start:
                return self._fit(name, users, text, texts, None, before)
            stop_after = (before.epochs if before else 0) or self.settings.sequence.stop_after
            return self._fit(name, users, text, texts, None, None, stop_after=stop_after)

        return fit

    def continue_training(self, name: str, start: SequenceModel) -> FitSequence:
        """Continues from a model of nearly the same days for a few epochs, `name` as in `again`; with zero epochs the
        model stays as it is, and only new items get vectors."""
        nightly = self.settings.nightly
        pace = self.settings.sequence.learning_rate * nightly.continue_lr_factor

        def fit(users: Users, text: np.ndarray | None, texts: np.ndarray | None) -> SequenceModel:
            if not nightly.continue_epochs:
                return start.with_placed(text)
            changes = {"warm_epochs": nightly.continue_epochs, "learning_rate": pace}
            return self._fit(name, users, text, texts, None, start, **changes)

        return fit

    def _fit(
        self,
        name: str,
        users: Users,
        text: np.ndarray | None,
        texts: np.ndarray | None,
        validation: tuple[Sequences, np.ndarray] | None,
        start: SequenceModel | None,
        **changes: float,
    ) -> SequenceModel:
        return train_sequence(
            users.sequences(),
            text,
            self.n_items,
            self.settings.sequence.model_copy(update=changes),
            self.settings.seed,
            storage=self.folder,
            browsing_text=texts,
            validation=validation,
            checkpoint=self.folder / f"{name}.safetensors",
            warm_start=start,
            progress=partial(self.progress, name) if self.progress else None,
        )

    def forget(self) -> None:
        """Removes the checkpoints at the end of the run."""
        forget_checkpoints(self.folder)


def forget_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of nightly runs, and the leftovers of killed runs."""
    for pattern in ("*.safetensors", ".*.safetensors.*.tmp"):
        for path in folder.glob(pattern):
            path.unlink()
    for left in folder.glob("sequence-*/"):
        shutil.rmtree(left)


def histories_of(users: Users, targets: pl.DataFrame) -> Sequences:
    """What the sequence model reads of the user of each target (user_id), in their order; empty for unknown users."""
    rows = np.array([users.rows.get(user_id, len(users.rows)) for user_id in targets["user_id"]], dtype=np.int64)
    sequences = users.sequences()
    with_nobody = replace(sequences, indptr=np.append(sequences.indptr, sequences.indptr[-1]))
    return with_nobody.take(rows)
