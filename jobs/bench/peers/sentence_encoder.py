"""sentence-transformers' own `encode`, with its defaults, on the files that our encoder reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from features.encoder.encoder import token_limit
from features.encoder.model_files import model_folder
from recsys import config
from recsys.hardware import compute_device


class SentenceEncoder:
    """Reads what `load_encoder` reads, but for bottlenecks and a pooling that only the settings name."""

    def __init__(self, settings: config.EncoderSettings, dtype: torch.dtype) -> None:
        self._sentences = SentenceTransformer(
            str(model_folder(settings.model)),
            device=compute_device().type,
            local_files_only=True,
            truncate_dim=settings.dim or None,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        )
        self._sentences.max_seq_length = token_limit(settings, self._sentences.tokenizer, self.model)

    @property
    def model(self) -> Any:
        """The transformer inside."""
        return self._sentences.transformers_model

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, dim) float32, in the order of `texts`."""
        vectors: np.ndarray = self._sentences.encode(list(texts), show_progress_bar=False)
        return vectors.astype(np.float32)
