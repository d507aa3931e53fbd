from __future__ import annotations

import numpy as np
import pytest
import torch

from features.finetune.imbalance import Variant, class_loss, epoch_rows

LABELS = np.array([0] * 1 + [1] * 3 + [2] * 12)
LOGITS = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
TARGETS = torch.tensor([0, 1])
LOG2, LOG125 = np.log(2.0), -np.log(0.8)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        # 16 reviews, 3 classes: a review of class 0 weighs 16 / 3, one of class 1 16 / 9.
        ("weighted", (16 / 3 * LOG2 + 16 / 9 * LOG125) / 2),
        ("focal", (0.5**2 * LOG2 + 0.2**2 * LOG125) / 2),
        ("oversampled", (LOG2 + LOG125) / 2),
    ],
)
def test_the_losses_by_hand(variant: Variant, expected: float) -> None:
    loss = class_loss(variant, LABELS, n_classes=3, gamma=2.0)
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-5)


def test_weights_of_all_reviews_add_up_to_their_number() -> None:
    loss = class_loss("weighted", LABELS, n_classes=5, gamma=2.0)  # two classes never occur
    uniform = torch.zeros(len(LABELS), 5)
    assert loss(uniform, torch.from_numpy(LABELS)).item() == pytest.approx(np.log(5.0), rel=1e-5)


def test_a_focal_loss_without_focus_is_the_plain_one() -> None:
    focal, plain = (class_loss(variant, LABELS, 3, gamma=0.0) for variant in ("focal", "oversampled"))
    assert focal(LOGITS, TARGETS).item() == pytest.approx(plain(LOGITS, TARGETS).item())


def test_oversampling_makes_classes_equal_and_others_read_each_review_once() -> None:
    labels = np.repeat(LABELS, 500)
    rows = np.flatnonzero(np.arange(len(labels)) % 2)
    drawn = epoch_rows(labels, rows, "oversampled", np.random.default_rng(0))
    assert len(drawn) == len(rows)
    assert set(drawn) <= set(rows)
    np.testing.assert_allclose(np.bincount(labels[drawn]) / len(drawn), [1 / 3] * 3, atol=0.03)
    once = epoch_rows(labels, rows, "focal", np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(once), rows)
    assert not np.array_equal(once, rows)
