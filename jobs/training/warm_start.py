"""How one night's sequence model starts from another's, without having seen the days on which it will be measured.

A night makes the model three times: of what preceded the validation days, of what preceded the last days, and of
everything. The first model travels with the release, beside the served one: when the next night begins, its validation
days are later, so it may start from there. The other two may start from the one before them. All of this only where
`sequence.warm_start` is set: it saves time and costs quality (docs/decisions.md).
"""

from __future__ import annotations

import json
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

from features.store.store import Store
from features.workspace.erasure_receipt import trained_with_erased
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
from recsys.whitening import Whitening

log = logging.getLogger(__name__)

FOLDER: Final = "warm_start"
AS_OF_FILE: Final = "as_of.json"


@dataclass(frozen=True)
class WarmStart:
    """The first model of an earlier night, over tonight's items, and the whitening that its adapter reads."""

    sequence: SequenceModel
    whitening: Whitening


def read_warm_start(
    store: Store, encoder_id: str, item_ids: pl.Series, cut: datetime, settings: config.SequenceSettings
) -> WarmStart | None:
    """What the served release left for a model of what preceded `cut`.

    None unless `settings.warm_start`, and where there is no release, where it was made with another encoder or cannot
    be read, where its model has seen something at or after `cut`, and where it has learned from a shopper who was
    erased since.
    """
    if not settings.warm_start or store.current_id() is None:
        return None
    try:
        release = store.open()
        folder = release.model_dir / FOLDER
        if release.manifest.encoder_id != encoder_id or _as_of(folder) > cut:
            return None
        if release.release_id in trained_with_erased(store.workspace):
            log.warning("warm start left out reason=the model has learned from a shopper who was erased since")
            return None
        model = Model.load(release.model_dir)
        rows = positions(item_ids, model.item_ids)
        return WarmStart(SequenceModel.load(folder).renumbered(rows), model.whitening)
    except (StoreError, OSError, ValueError) as error:
        log.warning("warm start left out reason=%s", error)
        return None


def save_warm_start(sequence: SequenceModel, as_of: datetime, model_dir: Path) -> None:
    """Beside a release's model files; as_of: nothing that happened then or later was seen."""
    sequence.save(model_dir / FOLDER)
    (model_dir / FOLDER / AS_OF_FILE).write_text(json.dumps(as_of.isoformat()))


def _as_of(folder: Path) -> datetime:
    return datetime.fromisoformat(json.loads((folder / AS_OF_FILE).read_text()))


@dataclass(frozen=True)
class SequenceFits:
    """Fits of one run. Each leaves its state in `folder` after every epoch, so a killed run goes on there.

    progress: is told the name of the fit and what the epoch achieved.
    """

    folder: Path
    item_ids: pl.Series
    settings: Settings
    progress: Callable[[str, Epoch], None] | None = None

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def measured(self, targets: pl.DataFrame, start: WarmStart | None) -> FitSequence:
        """Stops at the epoch that ranks `targets` (user_id, item_id) best: for a model of what came before them. Fewer
        than `fusion.min_targets` tell too little to stop it."""

        def fit(users: Users, text: np.ndarray | None, texts: np.ndarray | None) -> SequenceModel:
            judged = None
            if len(targets) >= self.settings.fusion.min_targets:
                judged = (histories_of(users, targets), positions(targets["item_id"], self.item_ids))
            return self._fit("first", users, text, texts, judged, start.sequence if start else None)

        return fit

    def again(self, name: str, before: SequenceModel | None) -> FitSequence:
        """Of more days than `before` was made of, in as many epochs as were best for it, or from its weights where
        `sequence.warm_start` is set; `name` tells the checkpoints of a run apart."""

        def fit(users: Users, text: np.ndarray | None, texts: np.ndarray | None) -> SequenceModel:
            if self.settings.sequence.warm_start:
                return self._fit(name, users, text, texts, None, before)
            stop_after = (before.epochs if before else 0) or self.settings.sequence.stop_after
            return self._fit(name, users, text, texts, None, None, stop_after=stop_after)

        return fit

    def touched_up(self, name: str, start: SequenceModel) -> FitSequence:
        """Goes on from a model of nearly the same days for `nightly.continue_epochs`, `name` as in `again`; with none
        it is taken as it is, and only its new items get their places."""
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
        """Removes the checkpoints: the run is done."""
        forget_checkpoints(self.folder)


def forget_checkpoints(folder: Path) -> None:
    """Remove those of nightly runs, and what killed ones left."""
    for pattern in ("*.safetensors", ".*.safetensors.*.tmp"):
        for path in folder.glob(pattern):
            path.unlink()
    for left in folder.glob("sequence-*/"):
        shutil.rmtree(left)


def histories_of(users: Users, targets: pl.DataFrame) -> Sequences:
    """What the sequence model reads of the user of each target (user_id), in their order; nothing of unknown ones."""
    rows = np.array([users.rows.get(user_id, len(users.rows)) for user_id in targets["user_id"]], dtype=np.int64)
    sequences = users.sequences()
    with_nobody = replace(sequences, indptr=np.append(sequences.indptr, sequences.indptr[-1]))
    return with_nobody.take(rows)
