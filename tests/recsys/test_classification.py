from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as their_confusion

from recsys.classification import (
    calibrated_loss,
    calibration_error,
    classification,
    confusion_matrix,
    fit_offsets,
    fit_temperature,
    softmax,
)


def sure_of(predicted: list[int], n_classes: int = 3, confidence: float = 1.0) -> np.ndarray:
    rest = (1.0 - confidence) / (n_classes - 1)
    probabilities = np.full((len(predicted), n_classes), rest)
    probabilities[np.arange(len(predicted)), predicted] = confidence
    return probabilities


def test_measures_of_a_small_table() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    measured = classification(sure_of([0, 0, 1, 1, 2, 2]), labels)
    assert measured.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert measured.support == (3, 2, 1)
    assert measured.accuracy == pytest.approx(4 / 6)
    assert measured.precision == pytest.approx((1.0, 0.5, 0.5))
    assert measured.recall == pytest.approx((2 / 3, 0.5, 1.0))
    assert measured.f1 == pytest.approx((0.8, 0.5, 2 / 3))
    assert measured.macro_f1 == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60),
)
def test_measures_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    labels, predicted = (np.array(column) for column in zip(*rows, strict=True))
    measured = classification(sure_of(predicted.tolist(), n_classes=4), labels)
    classes = list(range(4))
    expected = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    for ours, other in zip((measured.precision, measured.recall, measured.f1, measured.support), expected, strict=True):
        np.testing.assert_allclose(ours, other)
    macro = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)[2]
    assert measured.macro_f1 == pytest.approx(macro)
    assert measured.accuracy == pytest.approx(accuracy_score(labels, predicted))
    np.testing.assert_array_equal(measured.confusion, their_confusion(labels, predicted, labels=classes))


def test_a_class_that_never_occurs_has_no_say() -> None:
    measured = classification(sure_of([0, 1, 1]), np.array([0, 1, 0]))
    assert measured.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert measured.f1[2] == 0.0


def test_without_predictions_every_measure_is_zero() -> None:
    measured = classification(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    assert (measured.n, measured.accuracy, measured.macro_f1, measured.calibration_error) == (0, 0.0, 0.0, 0.0)
    assert confusion_matrix(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), 2).tolist() == [[0, 0], [0, 0]]


def test_calibration_error_is_the_gap_between_being_sure_and_being_right() -> None:
    # Four predictions at 0.9, of which two are right, and six at 0.6, of which all are.
    labels = np.zeros(10, dtype=np.int64)
    probabilities = np.concatenate([sure_of([0, 0, 1, 1], 2, confidence=0.9), sure_of([0] * 6, 2, confidence=0.6)])
    assert calibration_error(probabilities, labels) == pytest.approx(0.4 * 0.4 + 0.6 * 0.4)
    assert calibration_error(sure_of([0, 1], 2), np.array([0, 1])) == 0.0


def test_gaps_of_opposite_sign_do_not_cancel_across_bins() -> None:
    probabilities = np.concatenate([sure_of([0], 2, confidence=0.95), sure_of([0], 2, confidence=0.55)])
    assert calibration_error(probabilities, np.array([1, 0])) == pytest.approx((0.95 + 0.45) / 2)
    assert calibration_error(probabilities, np.array([1, 0]), n_bins=1) == pytest.approx(0.25)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 3))
    chances = softmax(logits / true_temperature).cumsum(axis=1)
    labels = (rng.random((20_000, 1)) > chances).sum(axis=1)
    assert fit_temperature(logits, labels) == pytest.approx(true_temperature, rel=0.05)


def test_the_temperature_is_bounded() -> None:
    logits = np.array([[0.9, 0.0], [0.0, 0.9]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(0.05)
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(20.0)
    assert fit_temperature(np.empty((0, 2)), np.empty(0, dtype=np.int64)) == 1.0


def test_softmax_bears_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0, -1000.0]])), [[0.5, 0.5, 0.0]])


def test_offsets_name_a_rare_class_before_it_is_the_most_probable() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.1).astype(np.int64)
    logits = np.stack([np.full(2000, 1.5), 1.5 * labels + rng.normal(0, 0.7, 2000)], axis=1)
    offsets = fit_offsets(logits, labels)
    plain = classification(softmax(logits), labels)
    shifted = classification(softmax(logits), labels, (logits + offsets).argmax(axis=1))
    assert offsets[1] > offsets[0]
    assert shifted.macro_f1 > plain.macro_f1
    assert shifted.calibration_error == plain.calibration_error


def test_offsets_stay_at_zero_where_nothing_is_gained() -> None:
    labels = np.array([0, 1, 2, 2])
    assert fit_offsets(np.eye(3)[labels] * 9.0, labels).tolist() == [0.0, 0.0, 0.0]
    assert fit_offsets(np.empty((0, 3)), np.empty(0, dtype=np.int64)).tolist() == [0.0, 0.0, 0.0]


def test_the_calibrated_loss_does_not_hang_on_how_sure_the_logits_are() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 300)
    logits = np.eye(3)[labels] + rng.normal(0, 1, (300, 3))
    assert calibrated_loss(logits * 7.0, labels) == pytest.approx(calibrated_loss(logits, labels), abs=1e-6)
    assert calibrated_loss(logits, labels) < np.log(3)
    assert calibrated_loss(np.empty((0, 3)), np.empty(0, dtype=np.int64)) == 0.0
