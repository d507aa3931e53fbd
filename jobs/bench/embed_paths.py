"""One way to encode texts, measured in a process of its own: `python -m jobs.bench.embed_paths FOLDER PATH OUT`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch

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
"""What each changes in the encoder's settings."""

PEERS: Final = {"sentence-transformers": torch.float32, "sentence-transformers bf16": torch.bfloat16}

Encode = Callable[[Sequence[str]], np.ndarray]


@dataclass
class TokenCount:
    """What went through a transformer: tokens of texts, by batch, in `n_places`; the other places were padding."""

    by_batch: list[torch.Tensor] = field(default_factory=list)
    n_places: int = 0

    @property
    def n_tokens(self) -> int:
        return sum(int(n) for n in self.by_batch)

    @property
    def padding_share(self) -> float:
        """Between 0 and 1; 0 where nothing went through."""
        return 1.0 - self.n_tokens / self.n_places if self.n_places else 0.0


@contextmanager
def counted_tokens(model: Any) -> Iterator[TokenCount]:
    """Inside, all that the transformer is called with is counted, by the attention masks of its batches."""
    count = TokenCount()
    # A hook would miss sentence-transformers, which calls `forward` itself.
    forward = model.forward

    @wraps(forward)
    def counting(*places: Any, **named: Any) -> Any:
        mask = named.get("attention_mask")
        if mask is None:  # texts behind each other, unpadded
            mask = torch.ones_like(named["input_ids"])
        count.by_batch.append(mask.sum())
        count.n_places += mask.numel()
        return forward(*places, **named)

    model.forward = counting
    try:
        yield count
    finally:
        del model.forward


def measure(
    encode: Encode, model: torch.nn.Module, texts: Sequence[str], n_runs: int
) -> tuple[np.ndarray, dict[str, float]]:
    """(n_texts, dim) float32, and what they took: seconds, the median of `n_runs` passes, n_tokens, padding_share.

    A pass before these warms up and counts; tokenization is part of every pass.
    """
    with counted_tokens(model) as count:
        vectors = encode(texts)
    passes = []
    for _ in range(n_runs):
        started = perf_counter()
        encode(texts)
        passes.append(perf_counter() - started)
    return vectors, {"seconds": median(passes), "n_tokens": count.n_tokens, "padding_share": count.padding_share}


def load_path(path: str, settings: config.EncoderSettings) -> tuple[Encode, torch.nn.Module]:
    """A key of `OURS` or `PEERS`, ready to encode, and the transformer that does."""
    if path in PEERS:
        from jobs.bench.peers.sentence_encoder import (
            SentenceEncoder,  # seconds that only this path shall pay, and memory
        )

        peer = SentenceEncoder(settings, PEERS[path])
        return peer.encode, peer.model
    from features.encoder.query_encoder import load_query_encoder

    encoder = load_query_encoder(settings.model_copy(update=OURS[path]))
    return encoder.encode, encoder.model


def main(arguments: Sequence[str]) -> None:
    """Writes OUT.npz with the vectors, and OUT.json with what `measure` tells and peak_mb: of the GPU where one
    computes, of the process otherwise."""
    folder, path, out = Path(arguments[0]), arguments[1], arguments[2]
    asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    encode, model = load_path(path, config.EncoderSettings.model_validate(asked["encoder"]))
    vectors, told = measure(encode, model, asked["texts"], asked["n_runs"])
    on_gpu = compute_device().type == "cuda"
    told["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_memory_mb()
    np.savez(f"{out}.npz", vectors=vectors)
    Path(f"{out}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
