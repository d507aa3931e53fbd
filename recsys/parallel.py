"""Several processes fit one model: each reads its share of the batches, and all take the same step.

They are the processes of torch.distributed's default group. A process that is in none, or alone in it, is rank 0 of 1,
and everything here hands back what it was given.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist
from torch import nn


def rank() -> int:
    """This process among those that fit together; the first one, 0, measures, keeps checkpoints and reports."""
    return dist.get_rank() if world_size() > 1 else 0


def world_size() -> int:
    """How many processes fit together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Every process's gradients become the sum of all processes' gradients, equal to the bit everywhere.

    A weight without a gradient anywhere keeps none, as in one process.
    """
    if world_size() == 1:
        return
    listed = list(weights)
    known = torch.tensor([weight.grad is not None for weight in listed], dtype=torch.float32)
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in listed]
    parts = [*gradients, known.to(listed[0].device)]
    flat = torch.cat([part.flatten() for part in parts])  # one message instead of one for each weight
    dist.all_reduce(flat)
    *sums, n_known = torch.split(flat, [part.numel() for part in parts])
    for weight, total, count in zip(listed, sums, n_known.tolist(), strict=True):
        weight.grad = total.view_as(weight) if count else None


def summed(values: list[float], device: torch.device) -> np.ndarray:
    """(n,) float64: all processes' values, added up position by position."""
    if world_size() == 1:
        return np.array(values)
    total = torch.tensor(values, dtype=torch.float64, device=device)  # (n,)
    dist.all_reduce(total)
    result: np.ndarray = total.cpu().numpy()
    return result


def from_first(value: float, device: torch.device) -> float:
    """The value that rank 0 has."""
    if world_size() == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=device)  # ()
    dist.broadcast(shared, src=0)
    return float(shared)


def agreed(value: int, device: torch.device) -> bool:
    """Whether all processes have the same value."""
    if world_size() == 1:
        return True
    extremes = torch.tensor([value, -value], device=device)  # (2,)
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    return int(extremes[0]) == -int(extremes[1])
