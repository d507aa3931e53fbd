"""The projection: a linear map after pooling, fitted on related texts of one shop (`features/finetune`).

It maps vectors of norm 1. It is stored beside the model in a separate file, which sentence-transformers reads as its
`Dense` module, and the encoder's digest covers it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from features.encoder.adapters import hidden_size

PROJECTION_FOLDER: Final = "3_Dense"
"""sentence-transformers numbers its modules; this one follows the transformer, pooling and a normalization."""

PROJECTION_FILE: Final = f"{PROJECTION_FOLDER}/model.safetensors"

ATTRIBUTE: Final = "projection"
"""Name of the model's attribute that holds the projection."""

_PREFIX: Final = "linear."
"""Prefix of the weights' names in sentence-transformers' files."""


def insert_projection(model: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Map the model's pooled vectors x, of norm 1, to weight @ x + bias; replaces an existing projection.

    weight: (hidden, hidden), bias: (hidden,), both float32.
    """
    linear = nn.Linear(weight.shape[1], weight.shape[0]).to(next(model.parameters()).device)
    linear.load_state_dict({"weight": weight, "bias": bias})
    setattr(model, ATTRIBUTE, linear.requires_grad_(False))


def remove_projection(model: nn.Module) -> None:
    """Remove the model's projection, if it has one."""
    if projection(model) is not None:
        delattr(model, ATTRIBUTE)


def projection(model: nn.Module) -> nn.Linear | None:
    """The model's projection, or None."""
    linear: nn.Linear | None = getattr(model, ATTRIBUTE, None)
    return linear


def save_projection(model: nn.Module, folder: Path) -> None:
    """Write the projection's weights into the model's folder; nothing without a projection."""
    linear = projection(model)
    if linear is None:
        return
    (folder / PROJECTION_FOLDER).mkdir(exist_ok=True)
    weights = {_PREFIX + name: value.detach().cpu().contiguous() for name, value in linear.state_dict().items()}
    save_file(weights, folder / PROJECTION_FILE)


def load_projection(model: nn.Module, folder: Path) -> None:
    """Load the projection stored beside a model, if there is one.

    Raises ValueError if it does not fit the model, SafetensorError if the file is damaged.
    """
    file = folder / PROJECTION_FILE
    if not file.is_file():
        return
    weights = load_file(file)
    weight, bias = weights.get(_PREFIX + "weight"), weights.get(_PREFIX + "bias")
    hidden = hidden_size(model)
    if weight is None or bias is None or weight.shape != (hidden, hidden) or bias.shape != (hidden,):
        raise ValueError(f"{PROJECTION_FILE} contains no projection with {hidden} dimensions")
    insert_projection(model, weight.float(), bias.float())
