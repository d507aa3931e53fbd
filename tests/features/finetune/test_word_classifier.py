"""The regression on words, by hand and on what it must not break on."""

from __future__ import annotations

import numpy as np
import pytest

from features.finetune.word_classifier import N_FEATURES, STRENGTHS, fit_words
from recsys.classification import softmax

BAD = ["awful stuff", "awful smell", "truly awful", "awful, awful"] * 5
GOOD = ["lovely stuff", "lovely smell", "truly lovely", "lovely, lovely"] * 5


def test_it_names_the_class_whose_words_it_reads() -> None:
    texts, labels = [*BAD, *GOOD], np.array([0] * 20 + [2] * 20)
    words = next(fit_words(texts, labels, 3, seed=0))
    assert words.weights.shape == (3, N_FEATURES) and words.weights.dtype == np.float32
    probabilities = softmax(words.logits(["an awful thing", "a lovely thing"]))
    assert probabilities.argmax(axis=1).tolist() == [0, 2]
    assert (probabilities[:, 1] < 1e-6).all()  # nobody has taught it that class


def test_three_classes_are_told_apart() -> None:
    fair = ["fair enough", "fair smell", "fairly fair", "fair, fair"] * 5
    texts, labels = [*BAD, *fair, *GOOD], np.repeat([0, 1, 2], 20)
    fitted = list(fit_words(texts, labels, 3, seed=0))
    assert len(fitted) == 2 * len(STRENGTHS)
    for words in fitted:
        assert words.logits(["awful", "fair", "lovely"]).argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("text", ["", "🙂🙂", "x" * 100_000, "\x00\x07", "<b></b>", "Ω混合 смесь"])
def test_any_text_has_finite_logits(text: str) -> None:
    texts, labels = [*BAD, *GOOD], np.array([0] * 20 + [1] * 20)
    logits = next(fit_words(texts, labels, 2, seed=0)).logits([text, "awful"])
    assert np.isfinite(logits).all()
