"""How well probabilities of classes fit: accuracy, F1 by class, and whether they mean what they say.

labels: (n,) int64 in [0, n_classes); probabilities: (n, n_classes), rows add up to 1; the predicted class is the most
probable one, the lower of equals, unless another is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

BINS: Final = 15
TEMPERATURES: Final = (0.05, 20.0)
"""`fit_temperature` stays within these: perfect predictions would call for 0, worthless ones for infinity."""

OFFSETS: Final = tuple(0.25 * step for step in range(-4, 13))
"""What `fit_offsets` may add to a class's logit, the least first of equals."""

_HALVINGS: Final = 60
_ROUNDS: Final = 5


@dataclass(frozen=True)
class Classification:
    """What `classification` measures; precision, recall, f1 and support by class, confusion by true class."""

    n: int
    accuracy: float
    macro_f1: float
    calibration_error: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]
    confusion: tuple[tuple[int, ...], ...]


def classification(
    probabilities: np.ndarray, labels: np.ndarray, predicted: np.ndarray | None = None
) -> Classification:
    """All measures of these predictions. Every mean is 0.0 where there are none.

    predicted: (n,) int64 classes, where they are not the most probable ones; the calibration error is of the
    probabilities all the same. A class that is never predicted has precision 0, one that never occurs recall 0.
    macro_f1 is the plain mean over the classes that occur or are predicted.
    """
    if predicted is None:
        predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, probabilities.shape[1])
    right = np.diag(confusion).astype(np.float64)
    support, named = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = right / np.maximum(named, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2.0 * right / np.maximum(support + named, 1)
    has_cases = (support + named) > 0
    return Classification(
        n=len(labels),
        accuracy=float(right.sum() / max(len(labels), 1)),
        macro_f1=float(f1[has_cases].mean()) if has_cases.any() else 0.0,
        calibration_error=calibration_error(probabilities, labels),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        f1=tuple(f1.tolist()),
        support=tuple(support.tolist()),
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """(n_classes, n_classes) int64 counts, a row for each true class and a column for each predicted one."""
    cells = labels.astype(np.int64) * n_classes + predicted
    return np.bincount(cells, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, n_bins: int = BINS) -> float:
    """Expected calibration error: | accuracy - confidence | in bins of equal width of the confidence, weighed by size.

    (Guo et al. 2017, "On calibration of modern neural networks", equation 3.) Confidence is the predicted class's
    probability; a bin holds its upper edge. 0.0 without predictions.
    """
    if len(labels) == 0:
        return 0.0
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    # Rounded, as 0.2 * 15 is more than 3 in binary.
    bins = np.clip(np.ceil(np.round(confidence * n_bins, 6)).astype(np.int64) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(labels))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T that makes softmax(logits / T) most likely (Guo et al. 2017, section 4.2), within `TEMPERATURES`.

    logits: (n, n_classes). It changes no prediction, only how sure they are. 1.0 without labels.
    """
    if len(labels) == 0:
        return 1.0
    label_logits = logits[np.arange(len(labels)), labels]
    # The likelihood is concave in 1 / T: where its slope changes sign, it is the largest.
    low, high = 1.0 / TEMPERATURES[1], 1.0 / TEMPERATURES[0]
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        slope = label_logits.mean() - (softmax(middle * logits) * logits).sum(axis=1).mean()
        low, high = (middle, high) if slope > 0 else (low, middle)
    return float(1.0 / (0.5 * (low + high)))


def calibrated_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels under softmax(logits / T), with T of `fit_temperature`.

    0.0 without labels.
    """
    if len(labels) == 0:
        return 0.0
    probabilities = softmax(logits / fit_temperature(logits, labels))
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def fit_offsets(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n_classes,) of `OFFSETS` to add to the (n, n_classes) logits so that the largest names the classes with the best
    macro-F1, that is, names rare classes often enough; found by turns, one class after the other, from none on."""
    offsets = np.zeros(logits.shape[1])

    def reached(trial: np.ndarray) -> float:
        return classification(softmax(logits), labels, (logits + trial).argmax(axis=1)).macro_f1

    for _ in range(_ROUNDS):
        before = offsets.copy()
        for place in range(len(offsets)):
            trials = [np.where(np.arange(len(offsets)) == place, value, offsets) for value in sorted(OFFSETS, key=abs)]
            offsets = max([offsets, *trials], key=reached)
        if (offsets == before).all():
            break
    return offsets


def softmax(logits: np.ndarray) -> np.ndarray:
    """(n, n_classes) float64 probabilities."""
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    result: np.ndarray = shares / shares.sum(axis=1, keepdims=True)
    return result
