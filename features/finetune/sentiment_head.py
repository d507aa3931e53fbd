"""The sentiment head: a small network on an encoder's vectors, mixed with a word classifier, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from features.encoder.encoder import Encoder
from features.finetune.word_classifier import WordClassifier
from features.workspace.atomic_files import write_atomically
from recsys.classification import softmax
from recsys.errors import EncoderError, StoreError

WEIGHTS_FILE: Final = "sentiment.safetensors"
HEADER_FILE: Final = "sentiment.json"

_WORDS: Final = "words."
"""Prefix of the word classifier's tensors."""


class HeadNetwork(nn.Module):
    """(n, dim) vectors to (n, n_classes) logits; hidden: width of the hidden layer, 0 for none."""

    def __init__(self, dim: int, hidden: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)  # vectors of norm 1 have small entries, which would slow down training
        self.hidden = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout)) if hidden else nn.Identity()
        self.out = nn.Linear(hidden or dim, n_classes)

    def forward(self, vectors: Tensor) -> Tensor:
        logits: Tensor = self.out(self.hidden(self.norm(vectors)))
        return logits


@dataclass(frozen=True)
class Header:
    """The head's file of figures, beside its weights. Heads of earlier versions have no word classifier."""

    encoder_id: str
    n_classes: int
    variant: str
    temperature: float
    dim: int
    hidden: int
    words_share: float = 0.0
    offsets: tuple[float, ...] = ()


_HEADER: Final = TypeAdapter(Header)


@dataclass(frozen=True)
class SentimentHead:
    """A fitted head. It only fits vectors of the encoder `encoder_id`; `temperature` calibrates its probabilities.

    words_share: weight of the word classifier, from 0 to 1, against the network; `words` is None if it is 0. offsets:
    added to the logits to choose a class, so that a rare class can be chosen before it is the most probable.
    """

    encoder_id: str
    n_classes: int
    variant: str
    temperature: float
    network: HeadNetwork
    words: WordClassifier | None = None
    words_share: float = 0.0
    offsets: tuple[float, ...] = ()

    def logits(self, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """(n, n_classes) float32 logits of (n, dim) float32 vectors of norm 1 and their n texts, before the
        temperature."""
        device = self.network.out.weight.device
        with torch.inference_mode():
            by_network: np.ndarray = self.network(torch.from_numpy(vectors).to(device)).float().cpu().numpy()
        if self.words is None:
            return by_network
        mixed: np.ndarray = (1.0 - self.words_share) * by_network + self.words_share * self.words.logits(texts)
        return mixed.astype(np.float32)

    def probabilities(self, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """(n, n_classes) float64, from the most negative class to the most positive; rows sum to 1."""
        return softmax(self.logits(vectors, texts) / self.temperature)

    def classes(self, logits: np.ndarray) -> np.ndarray:
        """(n,) int64 classes chosen for (n, n_classes) logits."""
        chosen: np.ndarray = (logits + (np.array(self.offsets) if self.offsets else 0.0)).argmax(axis=1)
        return chosen

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and then the header (JSON); a folder without header has no head."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        if self.words is not None:
            weights |= {_WORDS + name: torch.from_numpy(value) for name, value in vars(self.words).items()}
        header = Header(
            encoder_id=self.encoder_id,
            n_classes=self.n_classes,
            variant=self.variant,
            temperature=self.temperature,
            dim=self.network.norm.normalized_shape[0],
            hidden=self.network.out.in_features if isinstance(self.network.hidden, nn.Sequential) else 0,
            words_share=self.words_share,
            offsets=self.offsets,
        )
        write_atomically(folder / WEIGHTS_FILE, save(weights))
        write_atomically(folder / HEADER_FILE, _HEADER.dump_json(header, indent=2) + b"\n")

    @staticmethod
    def load(folder: Path) -> SentimentHead:
        """The head saved in that folder. Raises StoreError if there is none, or its files are damaged."""
        try:
            header = _HEADER.validate_json((folder / HEADER_FILE).read_bytes())
            network = HeadNetwork(header.dim, header.hidden, header.n_classes, dropout=0.0)
            weights = load((folder / WEIGHTS_FILE).read_bytes())
            of_words = {name: weights.pop(name).numpy() for name in list(weights) if name.startswith(_WORDS)}
            network.load_state_dict(weights)
            named = {name.removeprefix(_WORDS): value for name, value in of_words.items()}
            return SentimentHead(
                encoder_id=header.encoder_id,
                n_classes=header.n_classes,
                variant=header.variant,
                temperature=header.temperature,
                network=network.eval(),
                words=WordClassifier(**named) if header.words_share else None,
                words_share=header.words_share,
                offsets=header.offsets,
            )
        except FileNotFoundError:
            raise StoreError(f"{folder}: no sentiment head; run `recsys finetune` with the sentiment stage") from None
        except (ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            raise StoreError(
                f"{folder}: the sentiment head is damaged ({type(error).__name__}); run `recsys finetune` again"
            ) from None


def scores(probabilities: np.ndarray) -> np.ndarray:
    """(n,) expected sentiment in [-1, 1]: classes are equally spaced from -1 (most negative) to 1 (most positive)."""
    result: np.ndarray = probabilities @ np.linspace(-1.0, 1.0, probabilities.shape[1])
    return result


def predict_sentiment(encoder: Encoder, head: SentimentHead, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(n_texts, n_classes) probabilities and (n_texts,) `scores` of any texts.

    Raises EncoderError if the head was fitted on another encoder's vectors.
    """
    if encoder.id != head.encoder_id:
        raise EncoderError(
            f"the sentiment head needs vectors of encoder {head.encoder_id}, not of {encoder.id}; load that encoder, "
            "or run `recsys finetune` with the sentiment stage"
        )
    probabilities = head.probabilities(encoder.encode(texts), texts)
    return probabilities, scores(probabilities)
