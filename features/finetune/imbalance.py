"""Remedies for imbalanced classes: class weights, focal loss, or oversampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

Variant = Literal["weighted", "focal", "oversampled"]

ClassLoss = Callable[[Tensor, Tensor], Tensor]


def class_loss(
    variant: Variant, labels: np.ndarray, n_classes: int, gamma: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of (n, n_classes) logits and (n,) labels; class sizes are those of the (n_train,) training labels."""
    counts = np.bincount(labels, minlength=n_classes)
    weights = np.where(counts > 0, len(labels) / (np.maximum(counts, 1) * (counts > 0).sum()), 0.0)
    balance = torch.tensor(weights, dtype=torch.float32)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        match variant:
            case "weighted":
                # torch's own mean divides by the batch's sum of weights, so that steps would not add up to an epoch.
                losses = nn.functional.cross_entropy(logits, targets, balance.to(logits.device), reduction="none")
            case "focal":
                plain = nn.functional.cross_entropy(logits, targets, reduction="none")  # -log p
                losses = (1.0 - torch.exp(-plain)) ** gamma * plain
            case "oversampled":
                losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        return losses.mean()

    return loss


def epoch_rows(labels: np.ndarray, rows: np.ndarray, variant: Variant, rng: np.random.Generator) -> np.ndarray:
    """The training rows of one epoch in random order; oversampled, every class is drawn with equal probability."""
    if variant != "oversampled":
        return rng.permutation(rows)
    of_class = [rows[labels[rows] == label] for label in np.unique(labels[rows])]
    drawn = rng.integers(0, len(of_class), len(rows))
    luck = rng.random(len(rows))
    return np.array([of_class[k][int(u * len(of_class[k]))] for k, u in zip(drawn, luck, strict=True)], dtype=np.int64)
