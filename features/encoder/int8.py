"""Linear maps in 8-bit integers, weights and activations: for processors, where they cost least.

Quantization is symmetric and dynamic: a scale for each row of the weights, fixed, and one for each token, found as it
comes (vector-wise quantization: Dettmers et al. 2022, "LLM.int8()"). So a text's vector does not depend on
the texts beside it in a batch, as it would with one scale a batch.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from features.encoder.adapters import transformer_layers
from recsys.hardware import cpu_multiplies_int8

LARGEST: Final = 127
"""-128 is left out, so that a number and its negative are the same apart from the sign."""


class Int8Linear(nn.Module):
    """What an `nn.Linear` computes, from integers of 8 bits."""

    weight: Tensor  # (n_out, n_in) int8
    scale: Tensor  # (n_out,) float32

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantized_rows(linear.weight.detach().float())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.squeeze(1))
        self.native = cpu_multiplies_int8()
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().float(), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., n_in) to (..., n_out), in the precision of the inputs."""
        tokens, scale = quantized_rows(inputs.reshape(-1, inputs.shape[-1]).float())
        outputs = integer_product(tokens, self.weight, native=self.native).mul_(scale).mul_(self.scale)
        if self.bias is not None:
            outputs += self.bias
        return outputs.to(inputs.dtype).reshape(*inputs.shape[:-1], -1)


def integer_product(a: Tensor, b: Tensor, *, native: bool) -> Tensor:
    """(n, m) float32 of (n, dim) and (m, dim) int8: each row of `a` with each of `b`.

    native: in int8, summed in int32. Without instructions for that the same numbers are multiplied as float32, whose
    sums are exact below 2^24: int8 is then no faster than full precision, and not many times slower.
    """
    return torch._int_mm(a, b.T).float() if native else a.float() @ b.float().T


def quantized_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(n, dim) float32 to (n, dim) int8 and (n, 1) float32 scales, whose product is near it; zero rows stay zero."""
    scale = matrix.abs().amax(dim=1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny * LARGEST) / LARGEST
    return (matrix / scale).round_().to(torch.int8), scale


def quantize_layers(model: nn.Module) -> int:
    """Replaces the linear maps of the transformer's layers, in place; how many there were.

    Embeddings, norms and bottlenecks stay as they are. Raises ValueError where the layers hold no linear map.
    """
    n_replaced = 0
    for module in list(transformer_layers(model).modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
                n_replaced += 1
    if not n_replaced:
        raise ValueError(f"the layers of {type(model).__name__} hold no linear maps that could be int8")
    return n_replaced
