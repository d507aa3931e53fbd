"""What the steps of one nightly run share: the shop and the results of earlier steps, each read on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.encoder.reading import READING, Reading
from features.encoder.selection import SelectedEncoder
from features.store.manifest import LivePosition
from features.store.store import Store
from features.workspace.training_curves import note_epoch
from jobs.embedding.embed import load_vectors
from jobs.lake.lake import Lake
from jobs.lake.snapshot import Shop, newest_moment, read_shop
from jobs.nightly.publish import ReleaseInputs
from jobs.nightly.reuse import TRIAL, ReusedRelease, load_reused_release
from jobs.nightly.step_cache import Output, StepCache
from jobs.nightly.step_records import ENCODER, LEARNED, LIVE, METRICS, MOMENTS, EncoderRecord, LearnedRecord, Moments
from jobs.training.fit import Inputs, users_of
from jobs.training.warm_start import SequenceFits
from recsys import config
from recsys.config import Settings
from recsys.fusion import Fusion
from recsys.model import RANKER_FILE, Model
from recsys.ranking import Ranker
from recsys.repeats import Repeats, learn_repeats
from recsys.sequence import SequenceModel
from recsys.sequence.training import Epoch
from recsys.split import HeldOut, new_items, target_events, temporal_cut, visits
from recsys.users import Users
from recsys.whitening import Whitening
from recsys.workspace import Workspace

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, the work done, and the total of work where it is known."""

FUSION_FILE = "fusion.json"
WHITENING_FILES = ("whitening_mean.npy", "whitening_projection.npy")
MODEL = "model"


@dataclass(frozen=True)
class LearnedParts:
    """What was learned on held-out days. sequence: the model of the data before them; its epochs are used by later
    fits.

    made_from: when and from what it was learned; taken_from: the release it was taken from, "" where this run has
    learned it.
    """

    sequence: SequenceModel
    whitening: Whitening
    fusion: Fusion
    ranker: Ranker | None
    made_from: ReleaseInputs
    taken_from: str = ""

    def save(self, folder: Path) -> None:
        LEARNED.write(folder, LearnedRecord(self.made_from, self.taken_from))
        self.sequence.save(folder)
        self.fusion.save(folder / FUSION_FILE)
        for name, array in zip(WHITENING_FILES, (self.whitening.mean, self.whitening.projection), strict=True):
            np.save(folder / name, array, allow_pickle=False)
        if self.ranker is not None:
            self.ranker.save(folder / RANKER_FILE)

    @classmethod
    def load(cls, folder: Path) -> LearnedParts:
        mean, projection = (np.load(folder / name, allow_pickle=False) for name in WHITENING_FILES)
        ranker = folder / RANKER_FILE
        record = LEARNED.read(folder)
        return cls(
            SequenceModel.load(folder),
            Whitening(mean, projection),
            Fusion.load(folder / FUSION_FILE),
            Ranker.load(ranker) if ranker.exists() else None,
            record.made_from,
            record.taken_from,
        )


@dataclass
class NightlyRun:
    """One run's view of the workspace. encoder: settings of the selected encoder, with the path of its folder; adopted:
    the selection, None where the settings name the encoder themselves. asked_as_of: as requested, None for the newest
    event; moment: when the run first started, newer data is not used without `asked_as_of`; now: the machine's clock.
    anew: steps that run even where an earlier result could be reused; forced: checks and gate stop nothing; messages:
    of checks and gate, and what was forced; outputs: of finished steps, by name; peak_mb: of a step that ran in another
    process, its largest resident memory, MiB.

    The fields can be sent to another process, except `progress`; the cached properties are read there again."""

    workspace: Workspace
    settings: Settings
    encoder: config.EncoderSettings
    adopted: SelectedEncoder | None
    store: Store
    run_id: str
    asked_as_of: datetime | None
    moment: datetime
    now: datetime
    anew: frozenset[str]
    progress: Progress
    forced: bool = False
    messages: list[str] = field(default_factory=list)
    outputs: dict[str, Output] = field(default_factory=dict)
    peak_mb: float | None = None

    @cached_property
    def cache(self) -> StepCache:
        return StepCache(self.workspace.steps)

    @property
    def run_folder(self) -> Path:
        """The folder of the run's record, and of what a step writes whether it succeeds or not."""
        return self.workspace.runs / self.run_id

    def output_folder(self, step: str) -> Path:
        """The folder with the result of a finished step."""
        return self.cache.folder(self.outputs[step])

    @cached_property
    def live(self) -> LivePosition:
        """How far the live database has been read."""
        return LIVE.read(self.output_folder("ingest"))

    @cached_property
    def lake(self) -> Lake:
        """As the step `ingest` left it; do not use it before that step."""
        return Lake(self.workspace.lake)

    @cached_property
    def as_of(self) -> datetime:
        return self.asked_as_of or min(newest_moment(self.lake), self.moment)

    @cached_property
    def shop(self) -> Shop:
        return read_shop(self.lake, self.as_of, self.settings.interactions.robot_events_per_day)

    @cached_property
    def targets(self) -> pl.DataFrame:
        return target_events(self.shop.events.lazy()).collect(engine="in-memory")

    def find_moments(self) -> Moments:
        """Computed from the shop; the step `read` stores them."""
        test_cut = temporal_cut(self.targets, self.as_of, self.settings.evaluate)
        valid_cut = temporal_cut(self.targets, test_cut, self.settings.evaluate)
        return Moments(self.as_of, test_cut, valid_cut, self.lake.digest(self.as_of))

    @cached_property
    def moments(self) -> Moments:
        return MOMENTS.read(self.output_folder("read"))

    @cached_property
    def embedded_with(self) -> EncoderRecord:
        """The encoder of the text vectors."""
        return ENCODER.read(self.output_folder("embed"))

    @cached_property
    def reading(self) -> Reading:
        """How well the encoder reads the shop's texts."""
        return READING.read(self.output_folder("embed"))

    def frame(self, step: str, name: str) -> pl.DataFrame:
        """A table that a step wrote."""
        return pl.read_parquet(self.output_folder(step) / f"{name}.parquet")

    def vectors(self, text_hashes: pl.Series) -> np.ndarray:
        """Zero rows, as of items without a text, where the encoder cannot read the shop's texts."""
        vectors = load_vectors(self.workspace, self.embedded_with.id, text_hashes)
        return np.zeros_like(vectors) if self.reading.left_out else vectors

    @cached_property
    def inputs(self) -> Inputs:
        """All known data."""
        text = self.vectors(self.frame("embed", "items")["text_hash"])
        read, hashes = self.frame("embed", "read"), self.frame("embed", "read_hashes")["text_hash"]
        return Inputs(self.shop.items, self.shop.events, self.shop.impressions, text, read, self.vectors(hashes))

    @cached_property
    def inputs_before(self) -> Inputs:
        """The same, with item texts from before the held-out days."""
        return replace(self.inputs, text=self.vectors(self.frame("embed", "items_before")["text_hash"]))

    @cached_property
    def everybody(self) -> tuple[pl.DataFrame, Users]:
        """All shoppers at `as_of`: the `users` table, and the same as arrays."""
        return users_of(self.inputs, self.settings)

    @cached_property
    def repeats(self) -> Repeats:
        return learn_repeats(self.shop.events, self.shop.items["item_id"], self.settings.repeats)[0]

    def held_out(self, start: datetime, end: datetime) -> HeldOut:
        """The choices of shoppers in that time, and their sessions before each. Where bought items are recommended
        again, all choices count, and sessions are left out, since they would contain the chosen item itself."""
        before = self.inputs_before
        targets = new_items(self.targets, before.events, before.items["item_id"], start, end, self.repeats.allowed)
        since = pl.concat([before.events, before.read], how="diagonal").filter(pl.col("timestamp") >= start)
        since = visits(since.sort("timestamp"), targets.clear() if self.repeats.allowed else targets)
        return HeldOut(before.before(start).events, targets, start, since)

    @cached_property
    def fits(self) -> SequenceFits:
        """How the sequence models of this run are fitted."""
        return SequenceFits(
            self.workspace.training,
            self.shop.items["item_id"],
            self.settings,
            self._report_epoch,
        )

    def _report_epoch(self, fit: str, epoch: Epoch) -> None:
        note_epoch(self.run_folder, fit, epoch)
        self.progress("train the sequence model", epoch.number, epoch.of)

    @cached_property
    def learned(self) -> LearnedParts:
        return LearnedParts.load(self.output_folder("learn"))

    @cached_property
    def reused(self) -> ReusedRelease | None:
        """The release whose models this run continues to train; None for a full retrain."""
        release_id = self.taken_from
        return load_reused_release(self.workspace, self.store.open(release_id)) if release_id else None

    @property
    def taken_from(self) -> str:
        """The release whose weights, ranker and epochs are reused; "" for a full retrain."""
        return LEARNED.read(self.output_folder("learn")).taken_from

    @cached_property
    def trial(self) -> Model:
        """This run's model of the data before `test_cut`, on which it can be measured."""
        return Model.load(self.output_folder("evaluate") / TRIAL)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return METRICS.read(self.output_folder("evaluate"))

    @cached_property
    def model(self) -> Model:
        """The model of all data, which is published."""
        return Model.load(self.output_folder("fit") / MODEL)
