"""Linear layers with 8-bit integer weights and activations, for faster inference on CPUs.

Quantization is symmetric and dynamic: each row of the weights has a fixed scale, and each token has a scale computed at
run time (vector-wise quantization: Dettmers et al. 2022, "LLM.int8()"). A text's vector therefore does not depend on
the other texts in its batch, as it would with one scale per batch.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from features.encoder.adapters import transformer_layers
from recsys.hardware import cpu_multiplies_int8

LARGEST: Final = 127
"""-128 is not used, so that the range is symmetric."""


class Int8Linear(nn.Module):
    """An `nn.Linear` computed with 8-bit integers."""

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
    """(n, m) float32: the product a @ b.T of int8 matrices a (n, dim) and b (m, dim).

    native: multiply in int8 and sum in int32, which needs CPU support. Otherwise multiply the same numbers as float32,
    whose sums are exact below 2^24: not faster than full precision, but not many times slower either.
    """
    return torch._int_mm(a, b.T).float() if native else a.float() @ b.float().T


def quantized_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(n, dim) int8 and (n, 1) float32 scales whose product approximates the (n, dim) float32 matrix."""
    scale = matrix.abs().amax(dim=1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny * LARGEST) / LARGEST
    return (matrix / scale).round_().to(torch.int8), scale


def quantize_layers(model: nn.Module) -> int:
    """Replace the linear maps in the transformer's layers in place, and return their number.

    Embeddings, norms and bottleneck adapters are unchanged. Raises ValueError if the layers have no linear map.
    """
    n_replaced = 0
    for module in list(transformer_layers(model).modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
                n_replaced += 1
    if not n_replaced:
        raise ValueError(f"the layers of {type(model).__name__} contain no linear maps that could be quantized to int8")
    return n_replaced
