"""Which tokens of a text are hidden from the encoder, to be guessed (Devlin et al. 2019, "BERT")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from torch import Tensor

from features.encoder.encoder import Encoder
from recsys.errors import DataError

MASKED: Final = 0.8
RANDOM: Final = 0.1
"""Of the tokens to be guessed so many become the mask token, so many a random one; the others stay."""


@dataclass(frozen=True)
class Masking:
    """share: of the tokens to be guessed; special: (k,) ids that never are; words: (v,) ids that may replace others."""

    share: float
    mask_id: int
    special: np.ndarray
    words: np.ndarray

    def __call__(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The tokens as the encoder is to see them, and which of them it is to guess, both in the shape of `ids`.

        At least one is to be guessed where there is a word at all. Padding must be among `special`.
        """
        draws = np.where(np.isin(ids, self.special), np.inf, rng.random(ids.shape))
        guessed = draws < self.share
        if not guessed.any():
            guessed = (draws == draws.min()) & np.isfinite(draws)
        fate = rng.random(ids.shape)
        shown = np.where(guessed & (fate < MASKED), self.mask_id, ids)
        swapped = guessed & (fate >= MASKED) & (fate < MASKED + RANDOM)
        return np.where(swapped, rng.choice(self.words, ids.shape), shown), guessed


def masking_of(encoder: Encoder, share: float) -> Masking:
    """How this encoder's texts are masked. Raises DataError where it has no mask token."""
    mask_id = encoder.tokenizer.mask_token_id
    if mask_id is None:
        raise DataError(
            f"encoder {encoder.id} has no mask token, so it cannot guess words; leave mlm out of finetune.stages"
        )
    special = np.array([*encoder.tokenizer.all_special_ids, encoder.pad_id])
    return Masking(share, mask_id, special, np.setdiff1d(np.arange(len(word_embeddings(encoder))), special))


def word_embeddings(encoder: Encoder) -> Tensor:
    """(vocabulary, embedding_dim) what the encoder reads in place of each token."""
    weight: Tensor = encoder.model.get_input_embeddings().weight  # type: ignore[operator]
    return weight
