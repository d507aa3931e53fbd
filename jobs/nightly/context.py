"""What the steps of one night share: the shop, and what earlier steps made, each read when it is first asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.encoder.selection import Adopted
from features.store.manifest import LivePosition
from features.store.store import Store
from features.workspace.training_curves import note_epoch
from jobs.embedding.embed import load_vectors
from jobs.lake.lake import Lake
from jobs.lake.snapshot import Shop, newest_moment, read_shop
from jobs.nightly.publish import ReleaseInputs
from jobs.nightly.reuse import TRIAL, ReusedRelease, load_base
from jobs.nightly.step_cache import Output, Outputs
from jobs.training.fit import Inputs, users_of
from jobs.training.warm_start import SequenceFits
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
"""Called with a step's name, what is done of it and what there is to do."""

FUSION_FILE = "fusion.json"
WHITENING_FILES = ("whitening_mean.npy", "whitening_projection.npy")
LIVE_FILE = "live.json"
MOMENTS_FILE = "moments.json"
ENCODER_FILE = "encoder.json"
LEARNED_FILE = "learned.json"
METRICS_FILE = "metrics.json"
MODEL = "model"
ARRIVALS_FILE = "arrivals.json"


@dataclass(frozen=True)
class Moments:
    """as_of: nothing later is known; test_cut: what follows is for measuring; valid_cut: what follows, up to test_cut,
    is for learning how sources are weighed. lake: digest of all that was read."""

    as_of: datetime
    test_cut: datetime
    valid_cut: datetime
    lake: str

    def save(self, path: Path) -> None:
        content = {name: getattr(self, name).isoformat() for name in ("as_of", "test_cut", "valid_cut")}
        path.write_text(json.dumps(content | {"lake": self.lake}, indent=2))

    @classmethod
    def load(cls, path: Path) -> Moments:
        told = json.loads(path.read_text())
        as_of, test_cut, valid_cut = (datetime.fromisoformat(told[name]) for name in ("as_of", "test_cut", "valid_cut"))
        return cls(as_of, test_cut, valid_cut, told["lake"])


@dataclass(frozen=True)
class LearnedParts:
    """What held-out days have taught. sequence: the model of all before them; its epochs are what later fits take.

    made_from: when that was, and by which rules; taken_from: the release whose it was before, "" where it is tonight's.
    """

    sequence: SequenceModel
    whitening: Whitening
    fusion: Fusion
    ranker: Ranker | None
    made_from: ReleaseInputs
    taken_from: str = ""

    def save(self, folder: Path) -> None:
        told = {"made_from": asdict(self.made_from), "taken_from": self.taken_from}
        (folder / LEARNED_FILE).write_text(json.dumps(told, indent=2))
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
        told = json.loads((folder / LEARNED_FILE).read_text())
        return cls(
            SequenceModel.load(folder),
            Whitening(mean, projection),
            Fusion.load(folder / FUSION_FILE),
            Ranker.load(ranker) if ranker.exists() else None,
            ReleaseInputs(**told["made_from"]),
            told["taken_from"],
        )


@dataclass
class NightlyRun:
    """One run's view of the workspace. `moment`: what is newer is not looked at where no `as_of` was asked for; `now`:
    the machine's clock; `anew`: steps whose earlier results do not count; `forced`: checks and
    gate stop nothing; `told`: their warnings, and what was forced; `outputs`: of the steps that are done, by name;
    `peak_mb`: of a step that ran in another process, the largest resident memory of that, MiB.

    Its fields alone can be sent to another process, but for `progress`: what is read for it is read there again."""

    workspace: Workspace
    settings: Settings
    adopted: Adopted | None
    store: Store
    run_id: str
    asked_as_of: datetime | None
    moment: datetime
    now: datetime
    anew: frozenset[str]
    progress: Progress
    forced: bool = False
    told: list[str] = field(default_factory=list)
    outputs: dict[str, Output] = field(default_factory=dict)
    peak_mb: float | None = None

    @cached_property
    def kept(self) -> Outputs:
        return Outputs(self.workspace.steps)

    @property
    def run_folder(self) -> Path:
        """Where the run's record lies, and what a step has to tell of it whether it succeeds or not."""
        return self.workspace.runs / self.run_id

    def made(self, step: str) -> Path:
        """The folder of what a finished step made."""
        return self.kept.folder(self.outputs[step])

    @cached_property
    def live(self) -> LivePosition:
        """How far the live database has been read."""
        return LivePosition(**json.loads((self.made("ingest") / LIVE_FILE).read_text()))

    @cached_property
    def lake(self) -> Lake:
        """As the step `ingest` has left it: not to be asked for before."""
        return Lake(self.workspace.lake)

    @cached_property
    def as_of(self) -> datetime:
        return self.asked_as_of or min(newest_moment(self.lake), self.moment)

    @cached_property
    def shop(self) -> Shop:
        return read_shop(self.lake, self.as_of)

    @cached_property
    def targets(self) -> pl.DataFrame:
        return target_events(self.shop.events.lazy()).collect(engine="in-memory")

    def find_moments(self) -> Moments:
        """Worked out from the shop, as the step `read` does."""
        test_cut = temporal_cut(self.targets, self.as_of, self.settings.evaluate)
        valid_cut = temporal_cut(self.targets, test_cut, self.settings.evaluate)
        return Moments(self.as_of, test_cut, valid_cut, self.lake.digest(self.as_of))

    @cached_property
    def moments(self) -> Moments:
        return Moments.load(self.made("read") / MOMENTS_FILE)

    @cached_property
    def encoder(self) -> dict[str, str]:
        """`id` and `sha256` of the one that the texts were embedded with."""
        told: dict[str, str] = json.loads((self.made("embed") / ENCODER_FILE).read_text())
        return told

    def frame(self, step: str, name: str) -> pl.DataFrame:
        """A table that a step made."""
        return pl.read_parquet(self.made(step) / f"{name}.parquet")

    def vectors(self, text_hashes: pl.Series) -> np.ndarray:
        return load_vectors(self.workspace, self.encoder["id"], text_hashes)

    @cached_property
    def inputs(self) -> Inputs:
        """All that is known."""
        text = self.vectors(self.frame("embed", "items")["text_hash"])
        read, hashes = self.frame("embed", "read"), self.frame("embed", "read_hashes")["text_hash"]
        return Inputs(self.shop.items, self.shop.events, self.shop.impressions, text, read, self.vectors(hashes))

    @cached_property
    def inputs_before(self) -> Inputs:
        """The same, but of the items only what was said before the held-out days."""
        return replace(self.inputs, text=self.vectors(self.frame("embed", "items_before")["text_hash"]))

    @cached_property
    def everybody(self) -> tuple[pl.DataFrame, Users]:
        """The shoppers as they are now: the `users` table, and the same as arrays."""
        return users_of(self.inputs, self.settings)

    @cached_property
    def repeats(self) -> Repeats:
        return learn_repeats(self.shop.events, self.shop.items["item_id"], self.settings.repeats)[0]

    def held_out(self, start: datetime, end: datetime) -> HeldOut:
        """What the shoppers chose in that time, and what they had just done then; where what was bought comes back, all
        they chose, and nothing of what they had just done, which the item itself would be among."""
        before = self.inputs_before
        wanted = new_items(self.targets, before.events, before.items["item_id"], start, end, self.repeats.allowed)
        since = pl.concat([before.events, before.read], how="diagonal").filter(pl.col("timestamp") >= start)
        since = visits(since.sort("timestamp"), wanted.clear() if self.repeats.allowed else wanted)
        return HeldOut(before.before(start).events, wanted, start, since)

    @cached_property
    def fits(self) -> SequenceFits:
        """How the sequence models of this night are fitted."""
        return SequenceFits(
            self.workspace.training,
            self.shop.items["item_id"],
            self.settings,
            self._tell_epoch,
        )

    def _tell_epoch(self, fit: str, epoch: Epoch) -> None:
        note_epoch(self.run_folder, fit, epoch)
        self.progress("train the sequence model", epoch.number, epoch.of)

    @cached_property
    def learned(self) -> LearnedParts:
        return LearnedParts.load(self.made("learn"))

    @cached_property
    def base(self) -> ReusedRelease | None:
        """The release whose models tonight's go on from; None where all is learned from the start."""
        release_id = self.taken_from
        return load_base(self.workspace, self.store.open(release_id)) if release_id else None

    @property
    def taken_from(self) -> str:
        """The release whose weights, ranker and epochs are taken over; "" where all is learned from the start."""
        told: str = json.loads((self.made("learn") / LEARNED_FILE).read_text())["taken_from"]
        return told

    @cached_property
    def trial(self) -> Model:
        """The model of all before `test_cut`: tonight's, as it can be judged."""
        return Model.load(self.made("evaluate") / TRIAL)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.made("evaluate") / METRICS_FILE).read_text())
        return told

    @cached_property
    def model(self) -> Model:
        """The model of everything, which is to be published."""
        return Model.load(self.made("fit") / MODEL)
