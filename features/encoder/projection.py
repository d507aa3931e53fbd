"""The projection: a linear map behind pooling, fitted on what belongs together in one shop (`features/finetune`).

It reads vectors of norm 1, lies beside the model in a file of its own, as sentence-transformers' `Dense` module reads
it, and the encoder's digest covers it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from features.encoder.adapters import hidden_size

PROJECTION_FOLDER: Final = "3_Dense"
"""sentence-transformers' modules are numbered: behind the transformer, pooling and a normalization."""

PROJECTION_FILE: Final = f"{PROJECTION_FOLDER}/model.safetensors"

ATTRIBUTE: Final = "projection"
"""Under this name the model holds it, so that it travels with it."""

_PREFIX: Final = "linear."
"""Of the names of sentence-transformers' weights."""


def insert_projection(model: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """From now on the model's pooled vectors x, of norm 1, become weight @ x + bias; in the place of any before.

    weight: (hidden, hidden), bias: (hidden,), both float32.
    """
    linear = nn.Linear(weight.shape[1], weight.shape[0]).to(next(model.parameters()).device)
    linear.load_state_dict({"weight": weight, "bias": bias})
    setattr(model, ATTRIBUTE, linear.requires_grad_(False))


def remove_projection(model: nn.Module) -> None:
    """From now on pooled vectors stay as they are."""
    if projection(model) is not None:
        delattr(model, ATTRIBUTE)


def projection(model: nn.Module) -> nn.Linear | None:
    """The model's projection, None where it has none."""
    found: nn.Linear | None = getattr(model, ATTRIBUTE, None)
    return found


def save_projection(model: nn.Module, folder: Path) -> None:
    """Writes the weights where the model in `folder` has its projection; nothing where it has none."""
    linear = projection(model)
    if linear is None:
        return
    (folder / PROJECTION_FOLDER).mkdir(exist_ok=True)
    weights = {_PREFIX + name: value.detach().cpu().contiguous() for name, value in linear.state_dict().items()}
    save_file(weights, folder / PROJECTION_FILE)


def load_projection(model: nn.Module, folder: Path) -> None:
    """Inserts the projection that lies beside a model, where there is one.

    Raises ValueError where it does not fit the model, SafetensorError where the file is torn.
    """
    file = folder / PROJECTION_FILE
    if not file.is_file():
        return
    weights = load_file(file)
    weight, bias = weights.get(_PREFIX + "weight"), weights.get(_PREFIX + "bias")
    hidden = hidden_size(model)
    if weight is None or bias is None or weight.shape != (hidden, hidden) or bias.shape != (hidden,):
        raise ValueError(f"{PROJECTION_FILE} holds no projection of {hidden} dimensions")
    insert_projection(model, weight.float(), bias.float())
