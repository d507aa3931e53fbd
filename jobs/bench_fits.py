"""Fits that several rows of a benchmark share, kept in its folder so that each is made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Final, TypeVar

from jobs.bench_data import BenchData, Side
from jobs.train import fit_model, learn_fusion, learn_ranker, users_of, whiten
from jobs.warm_start import SequenceFits
from recsys.config import Settings
from recsys.fusion import Fusion
from recsys.model import Model
from recsys.sequence import SequenceModel

T = TypeVar("T")

SECONDS_FILE: Final = "seconds.json"


def fitted_sequence(
    data: BenchData, folder: Path, seed: int, side: Side, *, with_text: bool
) -> tuple[SequenceModel, float]:
    """The sequence model of the events of `side`, "validation" or "test", and the seconds that its fit took.

    On validation the targets stop it early, as the validation days do in the nightly run.
    """
    kept = folder / f"sequence-{side}-{'text' if with_text else 'ids'}-{seed}"

    def fit() -> tuple[SequenceModel, float]:
        settings = data.settings.model_copy(update={"seed": seed})
        inputs = data.inputs(data.held_out(side), with_text=with_text)
        whitening = whiten(inputs, settings)
        _, users = users_of(inputs, settings)
        with TemporaryDirectory(prefix="training-", dir=folder) as place:
            fits = SequenceFits(Path(place), data.items["item_id"], settings)
            if side == "validation":
                fit = fits.measured(data.validation.targets, None)
            else:  # with or without text
                fit = fits.again("test", fitted_sequence(data, folder, seed, "validation", with_text=True)[0])
            started = monotonic()
            texts = (whitening(data.text), whitening(users.texts)) if with_text else (None, None)
            return fit(users, *texts), monotonic() - started

    return _once(kept, fit, SequenceModel.save, SequenceModel.load)


def served_model(data: BenchData, folder: Path, seed: int) -> tuple[Model, float]:
    """What the product would publish, with fusion and ranker learned on the validation targets, and the seconds that
    the last fit of its models took."""
    settings = data.settings.model_copy(update={"seed": seed})

    def fit() -> tuple[Model, float]:
        first, _ = fitted_model(data, folder, settings, "validation")
        inputs = data.inputs(data.validation)
        _, users = users_of(inputs, settings)
        fusion = learn_fusion(inputs, first, users, data.validation, settings)
        ranker = learn_ranker(inputs, replace(first, fusion=fusion), users, data.validation, settings)
        last, seconds = fitted_model(data, folder, settings, "test")
        return replace(last, fusion=fusion, ranker=ranker), seconds

    return _once(folder / f"served-{seed}", fit, Model.save, Model.load)


def fitted_model(data: BenchData, folder: Path, settings: Settings, side: Side) -> tuple[Model, float]:
    """All models of the events of `side`, with the default fusion and no ranker, and the seconds that their fits
    took."""
    held_out = data.held_out(side)
    inputs = data.inputs(held_out)
    _, users = users_of(inputs, settings)
    sequence, sequence_s = fitted_sequence(data, folder, settings.seed, side, with_text=True)
    started = monotonic()
    model = fit_model(
        inputs, users, whiten(inputs, settings), Fusion(), None, held_out.as_of, settings, lambda *_: sequence
    )
    return model, sequence_s + monotonic() - started


def _once(
    kept: Path, fit: Callable[[], tuple[T, float]], save: Callable[[T, Path], None], load: Callable[[Path], T]
) -> tuple[T, float]:
    """What `fit` makes, with its seconds; taken from the folder `kept` where it was made before."""
    seconds_file = kept / SECONDS_FILE
    if not seconds_file.exists():
        made, seconds = fit()
        save(made, kept)
        seconds_file.write_text(json.dumps(seconds))
    return load(kept), json.loads(seconds_file.read_text())
