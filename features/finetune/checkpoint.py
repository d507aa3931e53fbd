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
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from features.durable import write_atomically

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
    for number, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    tensors |= {f"extra.{name}": value for name, value in state.extra.items()}
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(copies, {"run": identity, "progress": json.dumps(asdict(state.progress))}))


def resume_state(state: State, path: Path, identity: str) -> None:
    """Takes up the state at `path` where there is one with this identity; else `state` stays as it is."""
    if not path.is_file():
        return
    device = next(iter(state.weights.values())).device
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = file.metadata()
            if header["run"] != identity:
                log.info("finetune checkpoint ignored path=%s reason=other data or settings", path)
                return
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, TypeError) as error:  # TypeError: a file without any header
        log.warning("finetune checkpoint ignored path=%s reason=%s", path, type(error).__name__)
        return
    with torch.no_grad():
        for name, weight in state.weights.items():
            weight.copy_(tensors[f"weights.{name}"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimizer.", tensors).items():
        number, moment = name.split(".")
        moments.setdefault(int(number), {})[moment] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    state.extra = _under("extra.", tensors)
    state.progress = Progress(**json.loads(header["progress"]))
    log.info("finetune resumed path=%s steps=%d", path, len(state.progress.losses))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
