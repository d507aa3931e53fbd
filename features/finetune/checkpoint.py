"""The state of a fine-tuning stage on disk, so that a killed run goes on. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from features.workspace.atomic_files import write_atomically
from recsys.checkpoint import optimizer_tensors, read_checkpoint, restore_optimizer, under

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a stage is: the loss of every step that was made, and the seconds that they took."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class State:
    """What the next step needs. `weights`: those that are trained, by name; `extra`: whatever else has a state."""

    weights: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    extra: dict[str, Tensor]
    progress: Progress


def digest_of(parts: Iterable[str | np.ndarray | Tensor]) -> str:
    """SHA-256, hex, of texts, arrays and tensors, in their order and with their kinds and shapes."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f"text {len(part)} {part}".encode())
            continue
        if isinstance(part, Tensor):
            kept = part.detach().cpu().contiguous()
            digest.update(f"{kept.dtype} {tuple(kept.shape)}".encode())
            content = kept.flatten().view(torch.uint8).numpy()
        else:
            digest.update(f"{part.dtype} {part.shape}".encode())
            content = np.ascontiguousarray(part)
        digest.update(content.data)
    return digest.hexdigest()


def save_state(state: State, path: Path, identity: str) -> None:
    """Replaces `path` at once: a reader, or a crash at any moment, sees the old state or the new one whole."""
    tensors: dict[str, Tensor] = {f"weights.{name}": weight for name, weight in state.weights.items()}
    tensors |= optimizer_tensors(state.optimizer)
    tensors |= {f"extra.{name}": value for name, value in state.extra.items()}
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(copies, {"run": identity, "progress": json.dumps(asdict(state.progress))}))


def resume_state(state: State, path: Path, identity: str) -> None:
    """Takes up the state at `path` where there is one with this identity; else `state` stays as it is."""
    device = next(iter(state.weights.values())).device
    kept = read_checkpoint(path, identity, device)
    if kept is None:
        return
    header, tensors = kept
    with torch.no_grad():
        for name, weight in state.weights.items():
            weight.copy_(tensors[f"weights.{name}"])
    restore_optimizer(state.optimizer, tensors)
    state.extra = under("extra.", tensors)
    state.progress = Progress(**json.loads(header["progress"]))
    log.info("finetune resumed path=%s steps=%d", path, len(state.progress.losses))
