"""Softmax cross-entropy over many candidates in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

CHUNK_LOGITS = 12_000_000
"""Logits held at a time: 48 MB."""


def candidate_softmax(
    queries: Tensor, candidates: Tensor, targets: Tensor, offsets: Tensor | None, temperature: float
) -> Tensor:
    """Mean cross-entropy of each query's target among the candidates, by cosine / temperature.

    queries: (t, dim) and candidates: (c, dim), norm 1; targets: (t,) positions in the candidates. offsets: (c,) is
    added to a candidate's logit wherever it is not the target: the log-Q correction of sampled candidates, -inf for
    one that stands here only as another query's target; None adds nothing.
    """
    loss: Tensor = _CandidateSoftmax.apply(queries, candidates, targets, offsets, temperature)  # type: ignore[no-untyped-call]
    return loss


class _CandidateSoftmax(torch.autograd.Function):
    """Gradients are computed with the loss, chunk by chunk, so that the (t, c) logits never exist as a whole."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, candidates: Tensor, targets: Tensor, offsets: Tensor | None, temperature: float
    ) -> Tensor:
        n_targets = len(targets)
        target_scores = (queries * candidates[targets]).sum(dim=1) / temperature  # (t,)
        dtype = torch.get_autocast_dtype(queries.device.type)
        low = dtype if torch.is_autocast_enabled(queries.device.type) else queries.dtype
        queries_low, candidates_low = queries.to(low), candidates.to(low)  # (t, dim), (c, dim)
        query_gradient = torch.empty_like(queries)  # (t, dim)
        candidate_gradient = torch.zeros_like(candidates)  # (c, dim)
        total = queries.new_zeros(())
        size = max(1, CHUNK_LOGITS // len(candidates))
        with torch.autocast(queries.device.type, enabled=False):
            for start in range(0, n_targets, size):
                chunk = slice(start, min(start + size, n_targets))
                logits = (queries_low[chunk] @ candidates_low.T).float().div_(temperature)  # (chunk, c)
                if offsets is not None:
                    logits += offsets  # (chunk, c)
                logits.scatter_(1, targets[chunk, None], target_scores[chunk, None])  # (chunk, c)
                largest = logits.amax(dim=1, keepdim=True)  # (chunk, 1)
                share = logits.sub_(largest).exp_()  # (chunk, c)
                norm = share.sum(dim=1, keepdim=True)  # (chunk, 1)
                total += (norm.log() + largest).sum() - target_scores[chunk].sum()
                error = share.div_(norm)  # (chunk, c), the softmax
                error.scatter_add_(1, targets[chunk, None], torch.full_like(norm, -1.0))  # (chunk, c)
                error_low = error.to(low)  # (chunk, c)
                query_gradient[chunk] = (error_low @ candidates_low).float()  # (chunk, dim)
                candidate_gradient += (error_low.T @ queries_low[chunk]).float()  # (c, dim)
        scale = 1.0 / (temperature * n_targets)
        ctx.save_for_backward(query_gradient.mul_(scale), candidate_gradient.mul_(scale))
        return total / n_targets

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        query_gradient, candidate_gradient = ctx.saved_tensors
        return query_gradient * upstream[0], candidate_gradient * upstream[0], None, None, None


@dataclass(frozen=True)
class Proposal:
    """Draws items in proportion to popularity^0.75; those of popularity 0 never. popularity: (n_items,)."""

    popularity: np.ndarray

    @cached_property
    def shares(self) -> np.ndarray:
        """(n_items,) float64, the chance of each item in one draw."""
        weights = self.popularity.astype(np.float64) ** 0.75
        return weights / weights.sum()

    @cached_property
    def _bounds(self) -> np.ndarray:
        bounds = np.cumsum(self.shares)
        return bounds / bounds[-1]

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count,) item rows, with replacement."""
        return self._bounds.searchsorted(rng.random(count), side="right")


def sample_candidates(
    proposal: Proposal, count: int, needed: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Ascending item rows to rank `needed` among, and their offsets for `candidate_softmax`.

    Draws `count` items with replacement and adds `needed`. An item drawn m times has offset log(m / (count q)): the
    softmax over the sample then estimates the full one without bias in its denominator (Bengio & Senécal 2008,
    "Adaptive importance sampling to accelerate training of a neural probabilistic language model").
    """
    drawn, times = np.unique(proposal.draw(count, rng), return_counts=True)
    rows = np.union1d(drawn, needed)
    offsets = np.full(len(rows), -np.inf, dtype=np.float32)
    offsets[np.searchsorted(rows, drawn)] = np.log(times / (count * proposal.shares[drawn]))
    return rows, offsets
