"""The training loop of every stage: steps over planned batches, by one process or several, that survive a kill.

All that is random in a batch, its dropout too, is drawn from the seed and the batch's number. So a run that is taken up
ends, on the same processor and with as many processes, with the weights of one that was never disturbed.
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
"""The mean loss of a batch's rows, () float32. What it draws comes from the generator, or from torch's."""

_STAGES_OWN: Final = {"stages", "workers", "checkpoint_steps", "pairs", "mlm", "contrastive", "sentiment", "distill"}
"""Settings that do not shape what the loop makes of a task, or that the task itself tells."""


@dataclass(frozen=True)
class Task:
    """What is trained and on what.

    batches: rows of the training data, of all epochs and in order; module: its weights that require gradients are
    trained; shaped_by: all else that shapes the result, such as the texts' digest and the stage's settings.
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
    """One step of the optimizer; `number` counts from 1 to `n_steps`."""

    stage: str
    number: int
    n_steps: int
    loss: float
    learning_rate: float


Told = Callable[[Step], None]


@dataclass(frozen=True)
class Trained:
    """The loss of every step, and the seconds of training; both include what was done before a kill."""

    losses: tuple[float, ...]
    seconds: float


def steps_of(n_batches: int, settings: config.FinetuneSettings) -> int:
    """Steps of the optimizer: each takes `settings.gradient_accumulation_steps` batches of every process."""
    return -(-n_batches // (settings.gradient_accumulation_steps * parallel.world_size()))


def train(
    task: Task, settings: config.FinetuneSettings, seed: int, checkpoint: Path | None = None, told: Told | None = None
) -> Trained:
    """Trains the module in place; it is left in evaluation mode.

    AdamW; the step size rises linearly over `settings.warm_up_share` of the steps and falls by a half cosine to zero.
    checkpoint: a file that is written every `settings.checkpoint_steps` and at the end, and taken up where it is of
    the same weights, data, settings, seed and number of processes. told: called after every step.

    Where torch.distributed is initialised, each of its processes calls this with equal input. Every step they share
    its batches and take the same step; the first alone writes and reports, and all read the checkpoint.

    Raises TrainingError where the loss is not finite, StoreError where not every process can read the checkpoint.
    """
    weights = {name: weight for name, weight in task.module.named_parameters() if weight.requires_grad}
    device = next(iter(weights.values())).device
    state = State(weights, _optimizer(weights, settings), {}, Progress())
    identity = "" if checkpoint is None else _identity(task, settings, seed)
    if checkpoint is not None:
        _take_up(state, task, checkpoint, identity, device)
    n_steps = steps_of(len(task.batches), settings)
    earlier_s, started = state.progress.seconds, monotonic()
    task.module.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for number in range(len(state.progress.losses), n_steps):
            rate = task.learning_rate * pace(number, n_steps, settings.warm_up_share)
            state.progress.losses.append(_step(task, state, settings, seed, number, rate))
            state.progress.seconds = earlier_s + monotonic() - started
            due = (number + 1) % settings.checkpoint_steps == 0 or number + 1 == n_steps
            if parallel.rank() == 0 and checkpoint is not None and due:
                state.extra = task.tuning.state() if task.tuning else {}
                save_state(state, checkpoint, identity)
            if parallel.rank() == 0 and told is not None:
                told(Step(task.stage, number + 1, n_steps, state.progress.losses[-1], rate))
    task.module.eval()
    log.info("finetune stage=%s steps=%d seconds=%.1f", task.stage, n_steps, state.progress.seconds)
    return Trained(tuple(state.progress.losses), state.progress.seconds)


def autocast(device: torch.device, settings: config.FinetuneSettings) -> torch.autocast:
    """Products in the precision that `settings.precision` gives on this device; the weights stay in float32."""
    dtype = compute_dtype(settings.precision, device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def pace(step: int, n_steps: int, warm_up_share: float) -> float:
    """Share of the learning rate in a 0-based step: linear warm-up, then half a cosine down to zero."""
    warm_up = max(1, round(warm_up_share * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, n_steps - warm_up)))


def _step(task: Task, state: State, settings: config.FinetuneSettings, seed: int, number: int, rate: float) -> float:
    """One step of the optimizer over this process's part of the step's batches; the loss over all of them."""
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
            f"{task.stage}: the loss of step {number + 1} is {loss}; lower its learning_rate, or set "
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
    """Matrices decay; biases and the gains of norms do not."""
    groups = [
        {"params": [w for w in weights.values() if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights.values() if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, fused=True)


def _identity(task: Task, settings: config.FinetuneSettings, seed: int) -> str:
    """All that shapes the result: a checkpoint of anything else must not be taken up."""
    told = settings.model_dump_json(exclude=_STAGES_OWN)
    how = f"{task.stage} {seed} {parallel.world_size()} {task.learning_rate!r} {told} {task.shaped_by}"
    tensors = task.module.state_dict()
    return digest_of([how, *task.batches, *tensors, *tensors.values()])


def _take_up(state: State, task: Task, checkpoint: Path, identity: str, device: torch.device) -> None:
    resume_state(state, checkpoint, identity)
    if not parallel.agreed(len(state.progress.losses), device):
        raise StoreError(
            f"{checkpoint}: not every training process can read this checkpoint; keep it on a disk that all machines "
            "of the cluster share, or delete it"
        )
    if task.tuning is not None and state.progress.losses:
        task.tuning.load_state(state.extra)
