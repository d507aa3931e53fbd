"""The training loop of all stages: steps over planned batches, in one process or several, resumable after a crash.

All randomness of a batch, including dropout, depends only on the seed and the batch's number. A resumed run therefore
ends with the same weights as an uninterrupted one, on the same type of processor and with as many processes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from features.finetune.checkpoint import Progress, State, digest_of, resume_state, save_state
from features.finetune.tuning import Tuning
from recsys import config, parallel
from recsys.errors import StoreError, TrainingError
from recsys.hardware import compute_dtype

log = logging.getLogger(__name__)

GRADIENT_NORM: Final = 1.0

Loss = Callable[[np.ndarray, np.random.Generator], Tensor]
"""The mean loss of a batch's rows, () float32; its randomness comes from the generator, or from torch's."""

_OTHER_SETTINGS: Final = {
    "stages",
    "workers",
    "checkpoint_steps",
    "pairs",
    "mlm",
    "contrastive",
    "sentiment",
    "distill",
}
"""Settings without influence on the loop's result, or whose influence the task's `shaped_by` covers."""


@dataclass(frozen=True)
class Task:
    """A module and the batches that it is trained on.

    batches: rows of the training data, of all epochs and in order; module: its weights that require gradients are
    trained; shaped_by: identifies everything else that influences the result, such as the texts and the stage's
    settings.
    """

    stage: str
    module: nn.Module
    batches: Sequence[np.ndarray]
    loss: Loss
    learning_rate: float
    shaped_by: str
    tuning: Tuning | None = None


@dataclass(frozen=True)
class Step:
    """One step of the optimizer; `number` is from 1 to `n_steps`."""

    stage: str
    number: int
    n_steps: int
    loss: float
    learning_rate: float


OnStep = Callable[[Step], None]
"""Called after every step, for progress reports."""


@dataclass(frozen=True)
class Trained:
    """The loss of every step, and the seconds of training; both include the time before a restart."""

    losses: tuple[float, ...]
    seconds: float


def steps_of(n_batches: int, settings: config.FinetuneSettings) -> int:
    """Number of optimizer steps; each takes `settings.gradient_accumulation_steps` batches per process."""
    return -(-n_batches // (settings.gradient_accumulation_steps * parallel.world_size()))


def train(
    task: Task,
    settings: config.FinetuneSettings,
    seed: int,
    checkpoint: Path | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Train the module in place with AdamW, and leave it in evaluation mode.

    The learning rate rises linearly over `settings.warm_up_share` of the steps and then falls by a half cosine to zero.
    checkpoint: a file that is written every `settings.checkpoint_steps` and at the end; training resumes from it if it
    belongs to the same weights, data, settings, seed and number of processes. on_step: called after every step.

    If torch.distributed is initialized, each process calls this with equal input. In every step the processes share the
    batches and apply the same update. Only the first one writes the checkpoint and calls on_step; all of them read the
    checkpoint.

    Raises TrainingError if the loss is not finite, StoreError if not every process can read the checkpoint.
    """
    weights = {name: weight for name, weight in task.module.named_parameters() if weight.requires_grad}
    device = next(iter(weights.values())).device
    state = State(weights, _optimizer(weights, settings), {}, Progress())
    identity = "" if checkpoint is None else _identity(task, settings, seed)
    if checkpoint is not None:
        _resume(state, task, checkpoint, identity, device)
    n_steps = steps_of(len(task.batches), settings)
    earlier_s, started = state.progress.seconds, monotonic()
    task.module.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for number in range(len(state.progress.losses), n_steps):
            rate = task.learning_rate * lr_factor(number, n_steps, settings.warm_up_share)
            state.progress.losses.append(_step(task, state, settings, seed, number, rate))
            state.progress.seconds = earlier_s + monotonic() - started
            due = (number + 1) % settings.checkpoint_steps == 0 or number + 1 == n_steps
            if parallel.rank() == 0 and checkpoint is not None and due:
                state.extra = task.tuning.state() if task.tuning else {}
                save_state(state, checkpoint, identity)
            if parallel.rank() == 0 and on_step is not None:
                on_step(Step(task.stage, number + 1, n_steps, state.progress.losses[-1], rate))
    task.module.eval()
    log.info("finetune stage=%s steps=%d seconds=%.1f", task.stage, n_steps, state.progress.seconds)
    return Trained(tuple(state.progress.losses), state.progress.seconds)


def autocast(device: torch.device, settings: config.FinetuneSettings) -> torch.autocast:
    """Mixed precision as `settings.precision` has it on this device; the weights stay in float32."""
    dtype = compute_dtype(settings.precision, device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def lr_factor(step: int, n_steps: int, warm_up_share: float) -> float:
    """Learning-rate factor of a 0-based step: linear warm-up, then a half cosine down to zero."""
    warm_up = max(1, round(warm_up_share * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, n_steps - warm_up)))


def _step(task: Task, state: State, settings: config.FinetuneSettings, seed: int, number: int, rate: float) -> float:
    """One optimizer step on this process's part of the step's batches; returns the mean loss over all of them."""
    size = settings.gradient_accumulation_steps * parallel.world_size()
    first = number * size
    batches = task.batches[first : first + size]
    n_rows = sum(map(len, batches))
    state.optimizer.zero_grad(set_to_none=True)
    loss = 0.0
    for position in range(parallel.rank(), len(batches), parallel.world_size()):
        rng = np.random.default_rng((seed, first + position))
        torch.manual_seed(int(rng.integers(2**62)))
        part = task.loss(batches[position], rng) * (len(batches[position]) / n_rows)
        torch.autograd.backward(part)
        loss += float(part.detach())
    if task.tuning is not None and parallel.rank() == 0:
        penalty = task.tuning.penalty()
        if isinstance(penalty, Tensor):
            torch.autograd.backward(penalty)
    device = next(iter(state.weights.values())).device
    loss = float(parallel.summed([loss], device)[0])
    if not math.isfinite(loss):
        raise TrainingError(
            f"{task.stage}: the loss in step {number + 1} is {loss}; lower its learning_rate, or set "
            "finetune.precision = 'fp32'"
        )
    parallel.sum_gradients(state.weights.values())
    torch.nn.utils.clip_grad_norm_(state.weights.values(), GRADIENT_NORM)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    if task.tuning is not None:
        task.tuning.after_step(number)
    return loss


def _optimizer(weights: dict[str, nn.Parameter], settings: config.FinetuneSettings) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices, but not on biases and norm gains."""
    groups = [
        {"params": [w for w in weights.values() if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights.values() if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, fused=True)


def _identity(task: Task, settings: config.FinetuneSettings, seed: int) -> str:
    """A digest of everything that influences the result; only a checkpoint with the same digest may be resumed."""
    relevant = settings.model_dump_json(exclude=_OTHER_SETTINGS)
    how = f"{task.stage} {seed} {parallel.world_size()} {task.learning_rate!r} {relevant} {task.shaped_by}"
    tensors = task.module.state_dict()
    return digest_of([how, *task.batches, *tensors, *tensors.values()])


def _resume(state: State, task: Task, checkpoint: Path, identity: str, device: torch.device) -> None:
    resume_state(state, checkpoint, identity)
    if not parallel.agreed(len(state.progress.losses), device):
        raise StoreError(
            f"{checkpoint}: not every training process can read this checkpoint; keep it on a disk that all machines "
            "of the cluster share, or delete it"
        )
    if task.tuning is not None and state.progress.losses:
        task.tuning.load_state(state.extra)
