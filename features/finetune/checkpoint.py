"""Checkpoints of a fine-tuning stage, so that a killed run can be resumed. No file is ever unpickled."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors.torch import save
from torch import Tensor, nn

from features.workspace.atomic_files import write_atomically
from recsys.checkpoint import optimizer_tensors, read_checkpoint, restore_optimizer, under

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Progress of a stage: the loss of every completed step, and the seconds that they took."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


_PROGRESS: Final = TypeAdapter(Progress)


@dataclass
class State:
    """What the next step needs. weights: the trained weights, by name; extra: any other tensors with state."""

    weights: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    extra: dict[str, Tensor]
    progress: Progress


def digest_of(parts: Iterable[str | np.ndarray | Tensor]) -> str:
    """SHA-256, in hex, of texts, arrays and tensors, including their order, types and shapes."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f"text {len(part)} {part}".encode())
            continue
        if isinstance(part, Tensor):
            tensor = part.detach().cpu().contiguous()
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            content = tensor.flatten().view(torch.uint8).numpy()
        else:
            digest.update(f"{part.dtype} {part.shape}".encode())
            content = np.ascontiguousarray(part)
        digest.update(content.data)
    return digest.hexdigest()


def save_state(state: State, path: Path, identity: str) -> None:
    """Replace the file atomically: after a crash it has either the old state or the new one."""
    tensors: dict[str, Tensor] = {f"weights.{name}": weight for name, weight in state.weights.items()}
    tensors |= optimizer_tensors(state.optimizer)
    tensors |= {f"extra.{name}": value for name, value in state.extra.items()}
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(copies, {"run": identity, "progress": _PROGRESS.dump_json(state.progress).decode()}))


def resume_state(state: State, path: Path, identity: str) -> None:
    """Load the state from `path` if there is one with this identity; otherwise `state` is unchanged."""
    device = next(iter(state.weights.values())).device
    stored = read_checkpoint(path, identity, device)
    if stored is None:
        return
    header, tensors = stored
    with torch.no_grad():
        for name, weight in state.weights.items():
            weight.copy_(tensors[f"weights.{name}"])
    restore_optimizer(state.optimizer, tensors)
    state.extra = under("extra.", tensors)
    state.progress = _PROGRESS.validate_json(header["progress"])
    log.info("finetune resumed path=%s steps=%d", path, len(state.progress.losses))
