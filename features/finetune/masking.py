"""Masking: which tokens the encoder has to predict (Devlin et al. 2019, "BERT")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from torch import Tensor

from features.encoder.encoder import Encoder
from recsys.errors import DataError

MASKED: Final = 0.8
RANDOM: Final = 0.1
"""Shares of the tokens to be predicted that become the mask token, or a random token; the others stay."""


@dataclass(frozen=True)
class Masking:
    """share: of the tokens to predict; special: (k,) ids that are never masked; words: (v,) ids of random tokens."""

    share: float
    mask_id: int
    special: np.ndarray
    words: np.ndarray

    def __call__(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The masked tokens, and a mask of those that the encoder has to predict, both in the shape of `ids`.

        At least one token has to be predicted if there is any that is not special. Padding must be among `special`.
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
    """The masking for this encoder. Raises DataError if it has no mask token."""
    mask_id = encoder.tokenizer.mask_token_id
    if mask_id is None:
        raise DataError(
            f"encoder {encoder.id} has no mask token, which masked language modelling needs; leave mlm "
            "out of finetune.stages"
        )
    special = np.array([*encoder.tokenizer.all_special_ids, encoder.pad_id])
    return Masking(share, mask_id, special, np.setdiff1d(np.arange(len(word_embeddings(encoder))), special))


def word_embeddings(encoder: Encoder) -> Tensor:
    """(vocabulary, embedding_dim) input embeddings of the encoder."""
    weight: Tensor = encoder.model.get_input_embeddings().weight  # type: ignore[operator]
    return weight
