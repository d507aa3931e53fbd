"""The record of a fine-tuning run: a JSON file, and a picture of its learning curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from features.workspace.atomic_files import write_atomically
from recsys.errors import DataError
from recsys.hardware import peak_memory_mb

if TYPE_CHECKING:
    from features.finetune.loop import Trained
    from features.finetune.tuning import Parameters  # brings peft, which readers of records do not need

SMOOTHED_STEPS: Final = 20
"""The thick line is the mean over about this many steps, because the loss of a single batch is noisy."""


@dataclass(frozen=True)
class StageRecord:
    """One stage of a run.

    seconds: of training, including those before a restart; peak_memory_mb: see `memory_mb`; losses: by step; before,
    after: the stage's metrics on held-out data, by name; details: further JSON values; skipped: why there was nothing
    to train, in which case all else is empty.
    """

    stage: str
    mode: str = ""
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    trainable_parameters: int = 0
    parameters: int = 0
    n_examples: int = 0
    losses: tuple[float, ...] = ()
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""


@dataclass(frozen=True)
class FinetuneRecord:
    """A whole run: the encoder's ids before and after (empty if it was not saved), and the stages in order."""

    base: str
    tuned: str
    seed: int
    device: str
    stages: tuple[StageRecord, ...]


_ADAPTER: Final = TypeAdapter(FinetuneRecord)


def stage_record(
    stage: str,
    mode: str,
    trained: Trained,
    counted: Parameters,
    n_examples: int,
    before: dict[str, float],
    after: dict[str, float],
    details: dict[str, Any] | None = None,
) -> StageRecord:
    """The record of a stage that was trained in this process."""
    return StageRecord(
        stage=stage,
        mode=mode,
        seconds=trained.seconds,
        peak_memory_mb=memory_mb(),
        trainable_parameters=counted.trainable,
        parameters=counted.total,
        n_examples=n_examples,
        losses=trained.losses,
        before=before,
        after=after,
        details=details or {},
    )


def memory_mb() -> float:
    """Peak memory so far in MiB: what torch allocated on the GPU or, without a GPU, that of this process.

    It never decreases, so compare tuning modes in separate processes.
    """
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else peak_memory_mb()


def write_record(record: FinetuneRecord, path: Path) -> None:
    """Write the record as JSON, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _ADAPTER.dump_json(record, indent=2) + b"\n")


def read_record(path: Path) -> FinetuneRecord:
    """The record that `write_record` wrote. Raises DataError if there is none, or it cannot be read."""
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such record of a fine-tuning run") from None
    except ValueError as error:
        raise DataError(
            f"{path}: not a record of a fine-tuning run ({type(error).__name__}); run `recsys finetune`"
        ) from None


def plot_learning_curves(record: FinetuneRecord, path: Path) -> None:
    """Plot the loss of every stage by step, side by side, into a PNG file; titles show the metrics before and after.

    If every stage was skipped, the picture says that nothing was trained.
    """
    stages = [stage for stage in record.stages if stage.losses]
    figure = Figure(figsize=(5.0 * max(1, len(stages)), 3.5), layout="constrained")
    FigureCanvasAgg(figure)  # independent of the caller's pyplot backend
    if not stages:
        figure.text(0.5, 0.5, "nothing was trained", ha="center", va="center")
    for number, stage in enumerate(stages, start=1):
        axes = figure.add_subplot(1, len(stages), number)
        steps = np.arange(1, len(stage.losses) + 1)
        axes.plot(steps, stage.losses, color="0.8", linewidth=0.8)
        axes.plot(steps, smoothed(np.array(stage.losses), SMOOTHED_STEPS), color="tab:blue")
        axes.set_title(f"{stage.stage} ({stage.mode})\n{_change(stage)}", fontsize="medium")
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=120)


def smoothed(values: np.ndarray, n_steps: int) -> np.ndarray:
    """(n,) exponentially weighted mean of (n,) values, with bias correction at the start."""
    keep = 1.0 - 1.0 / n_steps
    mean, weight = 0.0, 0.0
    means = np.empty(len(values))
    for position, value in enumerate(values):
        mean, weight = keep * mean + value, keep * weight + 1.0
        means[position] = mean / weight
    return means


def _change(stage: StageRecord) -> str:
    changes = [
        f"{name} {stage.before[name]:.4g} → {value:.4g}" for name, value in stage.after.items() if name in stage.before
    ]
    return ", ".join(changes[:2])
