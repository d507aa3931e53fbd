"""One history read by `Network` without its modules: what a request waits for.

PyTorch spends most of a request's time on calling modules, as a single history gives them next to nothing to compute:
here NumPy multiplies, and PyTorch's bare functions do at once what takes NumPy several passes. Besides, only the newest
entry's query is wanted here, so the last block works for that entry alone. The arrays are views of the network's own
weights: training goes on to be seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import gelu

from recsys.sequence.network import Block, Network

NORM_EPSILON = 1e-12
"""Of `torch.nn.functional.normalize`."""


@dataclass(frozen=True)
class _Layer:
    """weight: (out, in); bias: (out,)."""

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, module: nn.Linear | nn.LayerNorm) -> _Layer:
        return cls(module.weight.detach().numpy(), module.bias.detach().numpy())

    def linear(self, x: np.ndarray) -> np.ndarray:
        result: np.ndarray = x @ self.weight.T + self.bias
        return result

    def norm(self, x: np.ndarray, epsilon: float) -> np.ndarray:
        weight, bias = torch.from_numpy(self.weight), torch.from_numpy(self.bias)
        result: np.ndarray = torch.layer_norm(torch.from_numpy(x), (x.shape[1],), weight, bias, epsilon).numpy()
        return result


@dataclass(frozen=True)
class _Block:
    """The weights of one `Block`; distance_bias: (heads, max_length)."""

    n_heads: int
    epsilon: float
    attention_norm: _Layer
    inputs: _Layer
    output: _Layer
    distance_bias: np.ndarray
    forward_norm: _Layer
    widen: _Layer
    narrow: _Layer

    @classmethod
    def of(cls, block: Block) -> _Block:
        return cls(
            n_heads=block.attention.n_heads,
            epsilon=block.attention_norm.eps,
            attention_norm=_Layer.of(block.attention_norm),
            inputs=_Layer.of(block.attention.inputs),
            output=_Layer.of(block.attention.output),
            distance_bias=block.attention.bias.detach().numpy(),
            forward_norm=_Layer.of(block.forward_norm),
            widen=_Layer.of(block.widen),
            narrow=_Layer.of(block.narrow),
        )

    def read(self, x: np.ndarray, n_wanted: int) -> np.ndarray:
        """(l, dim) to the last `n_wanted` rows of what `Block.forward` makes of it."""
        length, (first, x_last) = len(x), (len(x) - n_wanted, x[len(x) - n_wanted :])
        qkv = self.inputs.linear(self.attention_norm.norm(x, self.epsilon))  # (l, 3 * inner)
        q, k, v = qkv.reshape(length, 3, self.n_heads, -1).transpose(1, 2, 0, 3)  # each (heads, l, head)
        scores = q[:, first:] @ k.transpose(0, 2, 1) / np.float32(math.sqrt(q.shape[2]))  # (heads, wanted, l)
        distance = np.arange(first, length)[:, None] - np.arange(length)  # (wanted, l), negative for the future
        scores += np.where(distance < 0, np.float32(-np.inf), self.distance_bias[:, np.maximum(distance, 0)])
        scores = np.exp(scores - scores.max(axis=2, keepdims=True))
        scores /= scores.sum(axis=2, keepdims=True)
        mixed = (scores @ v).transpose(1, 0, 2).reshape(n_wanted, -1)  # (wanted, inner)
        x_last = x_last + self.output.linear(mixed)
        hidden = self.widen.linear(self.forward_norm.norm(x_last, self.epsilon))
        result: np.ndarray = x_last + self.narrow.linear(gelu(torch.from_numpy(hidden)).numpy())
        return result


@dataclass(frozen=True)
class Reader:
    """The weights of a `Network` on the CPU as arrays."""

    event_types: np.ndarray
    gaps: np.ndarray
    blocks: tuple[_Block, ...]
    output_norm: _Layer
    epsilon: float

    @classmethod
    def of(cls, network: Network) -> Reader:
        """Views of the network's weights, which must lie in the CPU's memory as float32."""
        return cls(
            event_types=network.event_types.weight.detach().numpy(),
            gaps=network.gaps.weight.detach().numpy(),
            blocks=tuple(_Block.of(block) for block in network.blocks if isinstance(block, Block)),
            output_norm=_Layer.of(network.output_norm),
            epsilon=network.output_norm.eps,
        )

    def query(self, entries: np.ndarray, event_types: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        """(dim,) of norm 1: what the shopper looks for after the last entry, as `Network.forward` says.

        entries: (l, dim) float32 item or text vectors, l at least 1; event_types, gaps: (l,).
        """
        x = entries * np.float32(math.sqrt(entries.shape[1])) + self.event_types[event_types] + self.gaps[gaps]
        # OpenBLAS was seen to raise the flag over finite numbers (as in numpy#24067); what is not finite stays visible.
        with np.errstate(invalid="ignore"):
            for number, block in enumerate(self.blocks, start=1):
                x = block.read(x, len(x) if number < len(self.blocks) else 1)
        last = self.output_norm.norm(x[-1:], self.epsilon)[0]  # (dim,)
        result: np.ndarray = last / max(float(np.linalg.norm(last)), NORM_EPSILON)
        return result.astype(np.float32, copy=False)
