"""Text encoders: any transformers encoder with safetensors weights; texts become vectors of norm 1."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.utils import logging as transformers_logging

from features.encoder.adapters import load_bottlenecks
from features.encoder.int8 import quantize_layers
from features.encoder.model_files import (
    DEFAULT_MODEL,
    DEFAULT_SHA256,
    Pooling,
    declared_pooling,
    model_folder,
    one_line,
    weights_digest,
)
from features.encoder.projection import load_projection, projection
from features.text.cleaning import clean
from recsys import config
from recsys.errors import EncoderError
from recsys.hardware import compute_device, compute_dtype

_LOADING: Final = threading.Lock()
"""While transformers loads a model, it changes PyTorch's default type for the whole process and then restores the
previous one. If two models were loaded at once, the second would restore bf16 for good."""

CHARS_PER_TOKEN: Final = 16
"""Tokens are shorter than this in every language, so that characters beyond this times the token limit are ignored."""

BATCH_TOKENS: Final = {"cpu": 4096, "cuda": 65_536}
"""Padded tokens per batch by device, if `encoder.batch_tokens` is 0."""


@dataclass(frozen=True)
class _Source:
    """What is known of an encoder before its weights are read into memory."""

    id: str
    folder: Path
    sha256: str
    pooling: Pooling
    dim: int


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder. Vectors of two encoders may be compared only if their `id`s are equal."""

    id: str
    sha256: str
    dim: int
    pooling: Pooling
    max_tokens: int
    batch_tokens: int
    tokenizer: Any
    model: torch.nn.Module

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, dim) float32 of norm 1, in the order of `texts`, cleaned and cut at `max_tokens`.

        Every string has a vector, even the empty one. Raises EncoderError if the model returns numbers that are not
        finite.
        """
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        tokens = self.tokenize(texts)
        for rows in length_batches([len(ids) for ids in tokens], self.batch_tokens):
            vectors[rows] = self._encode_batch([tokens[row] for row in rows])
        n_bad = int((~np.isfinite(vectors).all(axis=1)).sum())
        if n_bad:
            raise EncoderError(
                f"{self.id}: {n_bad} of {len(texts)} vectors are not finite; set encoder.precision = 'fp32'"
            )
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, neither cleaned nor cut, without the special tokens that `encode` adds."""
        if not texts:
            return []
        tokenized = self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        return [len(ids) for ids in tokenized["input_ids"]]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text as `encode` uses them, between 1 and `max_tokens` per text."""
        if not texts:
            return []
        longest = CHARS_PER_TOKEN * self.max_tokens
        # Markup is removed first, but only from a bounded part of the text, so that any input takes bounded time.
        cut = [clean(text[: 4 * longest])[:longest] for text in texts]
        tokenized = self.tokenizer(cut, truncation=True, max_length=self.max_tokens, return_attention_mask=False)
        return [ids or [self.pad_id] for ids in tokenized["input_ids"]]

    @property
    def pad_id(self) -> int:
        """The token that pads the shorter texts of a batch; any token would do, because padding is masked."""
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    def pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(n, hidden) float32, neither cut to `dim` nor of norm 1, from `padded` token ids on the model's device."""
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state  # (n, longest, hidden)
        pooled = pool(hidden.float(), mask, self.pooling)
        linear = projection(self.model)
        return pooled if linear is None else linear(torch.nn.functional.normalize(pooled, dim=1))

    def _encode_batch(self, tokens: list[list[int]]) -> np.ndarray:
        """(n, dim)"""
        ids, mask = padded(tokens, self.pad_id)
        with torch.inference_mode():
            pooled = self.pooled(ids.to(self.device), mask.to(self.device))[:, : self.dim]
            vectors = torch.nn.functional.normalize(pooled, dim=1)
        result: np.ndarray = vectors.cpu().numpy()
        return result


def load_encoder(settings: config.EncoderSettings) -> Encoder:
    """The encoder that the settings name, in evaluation mode, on the GPU if there is one.

    With int8 precision it runs on the CPU (see `features/encoder/int8.py`), and everything but its linear maps has the
    precision that `auto` chooses.

    Raises EncoderError if it is missing, altered (its digest is not the expected one), or not supported.
    """
    source = _source(settings)
    in_int8 = settings.precision == "int8"
    device = torch.device("cpu") if in_int8 else compute_device()
    try:
        with _LOADING, no_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(source.folder, local_files_only=True)
            # By default attention is PyTorch's scaled_dot_product_attention, if the architecture supports it.
            model, loading = AutoModel.from_pretrained(
                source.folder,
                dtype=compute_dtype("auto" if settings.precision == "int8" else settings.precision, device),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
            load_bottlenecks(model, source.folder)
            load_projection(model, source.folder)
            if in_int8:
                quantize_layers(model)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise EncoderError(f"encoder {settings.model}: cannot be loaded: {one_line(error)}") from None
    # transformers fills missing weights with random numbers; only the pooler's are never used here.
    absent = sorted(name for name in loading["missing_keys"] if "pooler." not in name)
    if absent:
        raise EncoderError(
            f"encoder {settings.model}: {len(absent)} weights are missing in its files (for example {absent[0]}); "
            "download the model again"
        )
    return Encoder(
        id=source.id,
        sha256=source.sha256,
        dim=source.dim,
        pooling=source.pooling,
        max_tokens=token_limit(settings, tokenizer, model),
        batch_tokens=settings.batch_tokens or BATCH_TOKENS[device.type],
        tokenizer=tokenizer,
        model=model.to(device).eval(),
    )


def encoder_id(settings: config.EncoderSettings) -> str:
    """The id that `load_encoder` would return, without reading the model into memory; safe as a folder name.

    It consists of everything that changes the vectors: name, digest of the weights, pooling, token limit, `int8` for
    that precision and, last, the dimension. fp32 and bf16 have the same id, because their vectors hardly differ (cosine
    0.9998 and above).
    """
    return _source(settings).id


def encoder_sha256(settings: config.EncoderSettings) -> str:
    """The digest of the weights that `load_encoder` would read; EncoderError if it is not the expected one."""
    return _source(settings).sha256


def token_limit(settings: config.EncoderSettings, tokenizer: Any, model: Any) -> int:
    """Number of tokens at which texts are cut: the smallest limit of settings, tokenizer and model positions."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", settings.max_tokens)
    return min(settings.max_tokens, tokenizer.model_max_length, positions)


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[np.ndarray]:
    """Row numbers in batches of similar length, longest first.

    Padded to its longest row, a batch has at most `batch_tokens`; a longer row is a batch by itself.
    """
    rows = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(rows):
        size = max(1, batch_tokens // max(1, lengths[rows[start]]))
        yield rows[start : start + size]
        start += size


def padded(tokens: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and their mask (1: a token, 0: padding), both (n, longest) int64.

    Padding is on the right, so that the position of the last token follows from the text's length.
    """
    n, longest = len(tokens), max(map(len, tokens))
    ids = torch.full((n, longest), pad_id, dtype=torch.int64)
    mask = torch.zeros((n, longest), dtype=torch.int64)
    for row, text_ids in enumerate(tokens):
        ids[row, : len(text_ids)] = torch.tensor(text_ids)
        mask[row, : len(text_ids)] = 1
    return ids, mask


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """(n, hidden) vectors of (n, longest, hidden) hidden states and their (n, longest) mask; padding is ignored."""
    match pooling:
        case "mean":
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        case "cls":
            return hidden[:, 0]
        case "last":
            last = mask.sum(dim=1) - 1
            return hidden[torch.arange(len(hidden), device=hidden.device), last]


def _source(settings: config.EncoderSettings) -> _Source:
    """Find the encoder, check its digest, and resolve what the settings leave to `auto`."""
    folder = model_folder(settings.model)
    digest = weights_digest(settings.model, folder)
    expected = settings.sha256.lower() or (DEFAULT_SHA256 if settings.model == DEFAULT_MODEL else "")
    if expected and digest != expected:
        raise EncoderError(
            f"encoder {settings.model}: its weights have SHA-256 {digest}, expected {expected}: altered, or another "
            "version; reinstall the model, or set encoder.sha256 if the change is intended"
        )
    hidden, decoder = _architecture(settings.model, folder)
    if settings.dim > hidden:
        raise EncoderError(f"setting encoder.dim = {settings.dim}: {settings.model} has {hidden} dimensions")
    dim = settings.dim or hidden
    if settings.pooling == "auto":
        pooling = declared_pooling(settings.model, folder) or ("last" if decoder else "mean")
    else:
        pooling = settings.pooling
    as_path = Path(settings.model).expanduser()
    # A model moved to another folder of the same name is the same model.
    name = re.sub(r"[^A-Za-z0-9._]+", "-", as_path.resolve().name if as_path.is_dir() else settings.model)
    precision = "-int8" if settings.precision == "int8" else ""
    identity = f"{name}-{digest[:12]}-{pooling}-{settings.max_tokens}{precision}-{dim}"
    return _Source(id=identity, folder=folder, sha256=digest, pooling=pooling, dim=dim)


def _architecture(model: str, folder: Path) -> tuple[int, bool]:
    """The model's hidden size, and whether it is decoder-only (causal)."""
    try:
        model_config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise EncoderError(f"encoder {model}: cannot be read: {one_line(error)}") from None
    if model_config.is_encoder_decoder:
        raise EncoderError(f"encoder {model}: encoder-decoder models are not supported; name an encoder")
    text_config = model_config.get_text_config()
    kind = text_config.model_type
    causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return int(text_config.hidden_size), causal


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Switch off the progress bars of transformers."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
