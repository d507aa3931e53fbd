"""What every checkpoint of a training is made of: named tensors, the optimizer's among them, and whose run it is."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

log = logging.getLogger(__name__)

OPTIMIZER = "optimizer."


def read_checkpoint(path: Path, identity: str, device: torch.device) -> tuple[dict[str, str], dict[str, Tensor]] | None:
    """Header and tensors of the safetensors file at `path`; None where there is none, where its header names another
    `run` than `identity`, or where it cannot be read."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header: dict[str, str] = file.metadata()
            if header["run"] != identity:
                log.info("checkpoint ignored path=%s reason=other data or settings", path)
                return None
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, TypeError) as error:  # TypeError: a file without any header
        log.warning("checkpoint ignored path=%s reason=%s", path, type(error).__name__)
        return None


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments, named so that `restore_optimizer` finds them."""
    return {
        f"{OPTIMIZER}{number}.{name}": value
        for number, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Its moments from among the tensors of a checkpoint; its settings stay as they are."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in under(OPTIMIZER, tensors).items():
        number, moment = name.split(".")
        moments.setdefault(int(number), {})[moment] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
