"""Measure one way to encode texts in a separate process: `python -m jobs.bench.embed_paths FOLDER PATH OUT`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch
from pydantic import TypeAdapter

from recsys import config
from recsys.hardware import compute_device, peak_memory_mb

REFERENCE: Final = "recsys fp32"
BF16: Final = "recsys bf16"
QUERY_MODEL: Final = "recsys query model"
OURS: Final[dict[str, dict[str, str]]] = {
    REFERENCE: {"precision": "fp32", "query_model": ""},
    BF16: {"precision": "bf16", "query_model": ""},
    "recsys int8": {"precision": "int8", "query_model": ""},
    QUERY_MODEL: {},
}
"""Name of a path -> its changes of the encoder's settings."""

PEERS: Final = {"sentence-transformers": torch.float32, "sentence-transformers bf16": torch.bfloat16}

Encode = Callable[[Sequence[str]], np.ndarray]

INPUT_FILE: Final = "input.json"


@dataclass(frozen=True)
class EmbedInput:
    """`INPUT_FILE` in FOLDER. n_runs: timed passes over the texts."""

    encoder: config.EncoderSettings
    texts: list[str]
    n_runs: int


@dataclass(frozen=True)
class Timing:
    """OUT.json. seconds: median of the passes; padding_share: between 0 and 1; peak_mb: peak memory of the GPU where
    one computes, else of the process; NaN where it was not measured."""

    seconds: float
    n_tokens: int
    padding_share: float
    peak_mb: float = float("nan")


EMBED_INPUT: Final = TypeAdapter(EmbedInput)
TIMING: Final = TypeAdapter(Timing)


@dataclass
class TokenCount:
    """Tokens that went through a transformer, by batch, in `n_places` places; the other places were padding."""

    by_batch: list[torch.Tensor] = field(default_factory=list)
    n_places: int = 0

    @property
    def n_tokens(self) -> int:
        return sum(int(n) for n in self.by_batch)

    @property
    def padding_share(self) -> float:
        """Between 0 and 1; 0 without any places."""
        return 1.0 - self.n_tokens / self.n_places if self.n_places else 0.0


@contextmanager
def counted_tokens(model: Any) -> Iterator[TokenCount]:
    """Inside the block, count the tokens of all calls of the transformer, by their attention masks."""
    count = TokenCount()
    # A forward hook would miss sentence-transformers, which calls `forward` directly.
    forward = model.forward

    @wraps(forward)
    def counting(*places: Any, **named: Any) -> Any:
        mask = named.get("attention_mask")
        if mask is None:  # texts are packed one after the other, without padding
            mask = torch.ones_like(named["input_ids"])
        count.by_batch.append(mask.sum())
        count.n_places += mask.numel()
        return forward(*places, **named)

    model.forward = counting
    try:
        yield count
    finally:
        del model.forward


def measure(encode: Encode, model: torch.nn.Module, texts: Sequence[str], n_runs: int) -> tuple[np.ndarray, Timing]:
    """(n_texts, dim) float32, and the median time of `n_runs` passes, which include tokenization.

    An untimed pass before them warms up and counts the tokens.
    """
    with counted_tokens(model) as count:
        vectors = encode(texts)
    passes = []
    for _ in range(n_runs):
        started = perf_counter()
        encode(texts)
        passes.append(perf_counter() - started)
    return vectors, Timing(median(passes), count.n_tokens, count.padding_share)


def load_path(path: str, settings: config.EncoderSettings) -> tuple[Encode, torch.nn.Module]:
    """Load a key of `OURS` or `PEERS`; returns its encode function and its transformer."""
    if path in PEERS:
        # imported here: only this path may pay for its time and memory
        from jobs.bench.peers.sentence_encoder import SentenceEncoder

        peer = SentenceEncoder(settings, PEERS[path])
        return peer.encode, peer.model
    from features.encoder.query_encoder import load_query_encoder

    encoder = load_query_encoder(settings.model_copy(update=OURS[path]))
    return encoder.encode, encoder.model


def main(arguments: Sequence[str]) -> None:
    """Write OUT.npz with the vectors and OUT.json with a `Timing`."""
    folder, path, out = Path(arguments[0]), arguments[1], arguments[2]
    given = EMBED_INPUT.validate_json((folder / INPUT_FILE).read_bytes())
    encode, model = load_path(path, given.encoder)
    vectors, timing = measure(encode, model, given.texts, given.n_runs)
    on_gpu = compute_device().type == "cuda"
    peak_mb = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_memory_mb()
    np.savez(f"{out}.npz", vectors=vectors)
    Path(f"{out}.json").write_bytes(TIMING.dump_json(replace(timing, peak_mb=peak_mb)))


if __name__ == "__main__":
    main(sys.argv[1:])
