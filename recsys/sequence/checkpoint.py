"""The state of a training run on disk, so that a killed run goes on at its last finished epoch."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor

from recsys.checkpoint import optimizer_tensors, read_checkpoint, restore_optimizer, under
from recsys.sequence.network import Network

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a run is. `best_ndcg` is below zero until an epoch was measured; `worse` counts epochs since the best."""

    epochs_done: int = 0
    best_ndcg: float = -1.0
    worse: int = 0

    @property
    def best_epoch(self) -> int:
        """The number of the epoch whose weights are the best so far; 0 before the first."""
        return self.epochs_done - self.worse


_PROGRESS: Final = TypeAdapter(Progress)


@dataclass
class Run:
    """A training run: what the next epoch needs, and the weights that won so far.

    epochs: over so many the step size falls; last: the one it ends after at the latest.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    epochs: int
    last: int
    best: dict[str, Tensor]
    progress: Progress


def fingerprint(settings_json: str, seed: int, arrays: list[np.ndarray]) -> str:
    """SHA-256, hex, of all that shapes a run: a checkpoint of another one must not be taken up."""
    digest = hashlib.sha256(f"{settings_json} {seed}".encode())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save_run(run: Run, path: Path, identity: str) -> None:
    """Replaces `path` at once: a reader, or a crash at any moment, sees the old state or the new one whole."""
    tensors = {f"network.{name}": value for name, value in run.network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in run.best.items()}
    tensors |= optimizer_tensors(run.optimizer)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    copies = {name: value.detach().cpu().clone() for name, value in tensors.items()}
    save_file(copies, draft, {"run": identity, "progress": _PROGRESS.dump_json(run.progress).decode()})
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)


def resume_run(run: Run, path: Path, identity: str) -> None:
    """Takes up the run at `path` where there is one with this identity; else `run` stays as it is."""
    stored = read_checkpoint(path, identity, run.network.ids.weight.device)
    if stored is None:
        return
    header, tensors = stored
    run.network.load_state_dict(under("network.", tensors))
    run.best = under("best.", tensors)
    restore_optimizer(run.optimizer, tensors)
    run.progress = _PROGRESS.validate_json(header["progress"])
    log.info("sequence resumed path=%s epochs=%d", path, run.progress.epochs_done)
