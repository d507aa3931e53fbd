"""Several processes fit one model: each reads its share of the batches, and all take the same step.

They are the processes of torch.distributed's default group. A process that is in none, or alone in it, is rank 0 of 1,
and everything here hands back what it was given.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist

from recsys.sequence.network import Network


def rank() -> int:
    """This process among those that fit together; the first one, 0, measures, keeps checkpoints and reports."""
    return dist.get_rank() if world_size() > 1 else 0


def world_size() -> int:
    """How many processes fit together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_gradients(network: Network) -> None:
    """Every process's gradients become the sum of all processes' gradients, equal to the bit everywhere.

    A weight without a gradient anywhere keeps none, as in one process. Of the id vectors only the rows travel that
    some process has a gradient for: one step reads a small part of a large catalogue.
    """
    if world_size() == 1:
        return
    ids = network.ids.weight
    assert ids.grad is not None, "the trainer gives the id vectors their gradient"
    touched = ids.grad.any(dim=1).to(torch.uint8)  # (n_items,)
    dist.all_reduce(touched, dist.ReduceOp.MAX)
    rows = touched.nonzero().squeeze(1)  # (r,)
    others = [weight for weight in network.parameters() if weight is not ids]
    known = torch.tensor([weight.grad is not None for weight in others], dtype=ids.dtype, device=ids.device)
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in others]
    parts = [ids.grad[rows], *gradients, known]
    flat = torch.cat([part.flatten() for part in parts])  # one message instead of one for each weight
    dist.all_reduce(flat)
    id_sums, *sums, n_known = torch.split(flat, [part.numel() for part in parts])
    ids.grad[rows] = id_sums.view(len(rows), -1)  # (r, dim)
    for weight, total, count in zip(others, sums, n_known.tolist(), strict=True):
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
    told = torch.tensor(value, dtype=torch.float64, device=device)  # ()
    dist.broadcast(told, src=0)
    return float(told)


def agreed(value: int, device: torch.device) -> bool:
    """Whether all processes have the same value."""
    if world_size() == 1:
        return True
    extremes = torch.tensor([value, -value], device=device)  # (2,)
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    return int(extremes[0]) == -int(extremes[1])
