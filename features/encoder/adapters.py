"""Bottleneck adapters: a narrow residual network after every layer of a transformer.

(Houlsby et al. 2019, "Parameter-efficient transfer learning for NLP"; one per layer, after its feed-forward part, as in
Pfeiffer et al. 2021, "AdapterFusion".) They are not linear, so they cannot be merged into the weights around them. They
are stored in a separate file beside the model; `features/encoder/encoder.py` reads it, and the encoder's digest covers
it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

BOTTLENECKS_FILE: Final = "bottlenecks.safetensors"

ATTRIBUTE: Final = "bottlenecks"
"""Name of the model's attribute that holds its adapters."""


class Bottleneck(nn.Module):
    """x + up(gelu(down(x))). A new one is the identity, because `up` starts at zero."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden, width)
        self.up = nn.Linear(width, hidden)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., hidden) to (..., hidden)"""
        return hidden + self.up(nn.functional.gelu(self.down(hidden)))

    def behind(self, layer: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:  # noqa: ARG002 - a hook
        """Forward hook: the layer's output with adapted hidden states, which come first if the output is a tuple."""
        if isinstance(output, tuple):
            return (self(output[0]), *output[1:])
        return self(output)


def transformer_layers(model: nn.Module) -> nn.ModuleList:
    """The layers of a transformer: the list of modules with the most weights.

    Raises ValueError if the model has no list of modules.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"{type(model).__name__} has no list of layers")
    return max(lists, key=lambda layers: sum(weight.numel() for weight in layers.parameters()))


def hidden_size(model: nn.Module) -> int:
    """Dimension of the hidden states of a transformer."""
    return int(model.config.get_text_config().hidden_size)  # type: ignore[operator, union-attr]


def insert_bottlenecks(model: nn.Module, width: int) -> nn.ModuleList:
    """Add an adapter after every layer, on the model's device and in its precision; initialized by torch's
    generator."""
    layers = transformer_layers(model)
    hidden = hidden_size(model)
    any_weight = next(model.parameters())
    adapters = [Bottleneck(hidden, width).to(any_weight.device, any_weight.dtype) for _ in layers]
    for layer, adapter in zip(layers, adapters, strict=True):
        # A hook instead of a wrapping module does not change the names of other weights.
        layer.register_forward_hook(adapter.behind)
    listed = nn.ModuleList(adapters)
    setattr(model, ATTRIBUTE, listed)
    return listed


def bottlenecks(model: nn.Module) -> nn.ModuleList | None:
    """The model's adapters, or None."""
    adapters: nn.ModuleList | None = getattr(model, ATTRIBUTE, None)
    return adapters


def bottleneck_weights(model: nn.Module) -> dict[str, Tensor]:
    """The adapters' weights by name, as `load_bottlenecks` reads them; empty without adapters."""
    adapters = bottlenecks(model)
    return {} if adapters is None else {name: value.detach().cpu() for name, value in adapters.state_dict().items()}


def load_bottlenecks(model: nn.Module, folder: Path) -> None:
    """Load the adapters stored beside a model, if there are any.

    Raises ValueError or RuntimeError if they do not fit the model, SafetensorError if the file is damaged.
    """
    file = folder / BOTTLENECKS_FILE
    if not file.is_file():
        return
    weights = load_file(file)
    narrow = weights.get("0.down.weight")
    if narrow is None:
        raise ValueError(f"{file.name} contains no bottleneck adapters")
    with torch.random.fork_rng(devices=[]):
        adapters = insert_bottlenecks(model, len(narrow))
    adapters.load_state_dict(weights)
