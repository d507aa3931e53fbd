from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.encoder.encoder import Encoder
from features.finetune.masking import Masking, masking_of
from recsys.errors import DataError

SPECIAL = np.array([0, 1, 2, 3, 4])
MASKING = Masking(0.15, mask_id=4, special=SPECIAL, words=np.arange(5, 45))
IDS = np.random.default_rng(9).integers(5, 45, (500, 40))


def test_of_the_tokens_15_percent_are_guessed_and_most_of_them_hidden() -> None:
    shown, guessed = MASKING(IDS, np.random.default_rng(0))
    assert guessed.mean() == pytest.approx(0.15, abs=0.01)
    fate = shown[guessed]
    assert (fate == 4).mean() == pytest.approx(0.8, abs=0.03)
    unchanged = (fate == IDS[guessed]).mean()
    assert unchanged == pytest.approx(0.1 + 0.1 / 40, abs=0.02)  # a random word may be the same one
    assert not np.isin(fate[fate != 4], SPECIAL).any()
    np.testing.assert_array_equal(shown[~guessed], IDS[~guessed])


def test_special_tokens_are_never_guessed_and_always_one_word_is() -> None:
    ids = np.array([[2, 7, 3, 0, 0]])
    for seed in range(20):
        shown, guessed = MASKING(ids, np.random.default_rng(seed))
        assert guessed.tolist() == [[False, True, False, False, False]]
        np.testing.assert_array_equal(shown[~guessed], ids[~guessed])


def test_masks_differ_from_draw_to_draw_but_not_under_a_seed() -> None:
    rng = np.random.default_rng(1)
    first, second = MASKING(IDS, rng)[1], MASKING(IDS, rng)[1]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(MASKING(IDS, np.random.default_rng(1))[1], first)


def test_an_encoders_special_tokens_are_known(encoder: Encoder) -> None:
    masking = masking_of(encoder, 0.2)
    assert (masking.share, masking.mask_id) == (0.2, 4)
    assert set(masking.special.tolist()) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(masking.words, np.arange(5, 45))


def test_an_encoder_without_a_mask_token_is_refused(encoder: Encoder) -> None:
    class Tokenizer:
        mask_token_id = None

    with pytest.raises(DataError, match=r"has no mask token.*leave mlm out of finetune\.stages"):
        masking_of(replace(encoder, tokenizer=Tokenizer()), 0.2)
