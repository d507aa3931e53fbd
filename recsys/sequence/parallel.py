"""The gradients of processes that fit one sequence model together."""

from __future__ import annotations

import torch
import torch.distributed as dist

from recsys.parallel import world_size
from recsys.sequence.network import Network


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
