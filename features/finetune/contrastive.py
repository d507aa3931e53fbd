"""The contrastive stage: related texts get similar vectors.

In-batch negatives (Henderson et al. 2017, "Efficient natural language response suggestion for Smart Reply") with cached
gradients if the batch does not fit into memory (Gao et al. 2021, "Scaling deep contrastive learning batch size under
memory limited setup"), and on leading dimensions as well (Kusupati et al. 2022, "Matryoshka representation learning").
The losses are those of sentence-transformers. Finally the weights are averaged with the initial ones (Wortsman et al.
2022, "Robust fine-tuning of zero-shot models"), because long training on the pairs of one shop makes the encoder forget
general language.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from sentence_transformers.base.losses.merged_forward import column_merging_disabled
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from torch import Tensor, nn

from features.encoder.adapters import hidden_size
from features.encoder.encoder import Encoder, padded
from features.finetune.batches import distinct_batches
from features.finetune.checkpoint import digest_of
from features.finetune.held_out import held_out_rows, place
from features.finetune.loop import OnStep, Task, autocast, steps_of, train
from features.finetune.record import StageRecord, stage_record
from features.finetune.tuning import (
    Tuning,
    average_weights,
    copied_weights,
    gradient_checkpointing,
    learning_rate,
    tune,
)
from recsys import config
from recsys.errors import DataError
from recsys.interactions import positions
from recsys.metrics import recall, reciprocal_rank, target_ranks
from recsys.whitening import unit_rows

K: Final = 10
MAX_HELD_OUT: Final = 2000
"""This many held-out pairs, and their positives, are enough to compare two encoders."""

_BLOCK_PAIRS: Final = 512

_CPU_TEXTS: Final = 32
"""On a CPU, this many texts of similar length are encoded together."""

Features = dict[str, Tensor]
"""input_ids and attention_mask, both (n, longest) int64."""

ColumnLoss = Callable[[list[Features]], Tensor]


def tune_contrastive(
    encoder: Encoder,
    pairs: pl.DataFrame,
    settings: config.FinetuneSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    on_step: OnStep | None = None,
) -> StageRecord:
    """Tune the encoder in place on the pairs of `pairs.training_pairs`, merge the update into its weights, and average
    these with the initial weights, which have the share `settings.contrastive.weight_averaging`.

    A share of the anchors is held out; on their pairs `recall@10` and `mrr@10` are measured before and after, with all
    held-out positives as candidates (`retrieval_ranks`). details: the same metrics by number of leading dimensions.
    checkpoint, on_step, and several processes: as in `loop.train`.

    Raises DataError if no batch can be formed: without pairs, or if all pairs share an item.
    """
    training = pairs.filter(place(pairs["anchor"]) >= settings.contrastive.held_out)
    texts = _texts(encoder, training)
    batches = _planned_batches(texts, settings.contrastive, seed)
    if not batches:
        raise DataError(
            f"no batch can be formed of {training.height} pairs ({pairs.height - training.height} more are held out): "
            "a batch needs two pairs without a common item; ingest more events, or leave contrastive out of "
            "finetune.stages"
        )
    before = held_out_measures(encoder, pairs, settings.contrastive)
    start = copied_weights(encoder.model) if settings.contrastive.weight_averaging else {}
    tuning = tune(encoder.model, settings, steps_of(len(batches), settings), seed)
    counted = tuning.parameters()
    task = _task(encoder, training, texts, batches, settings, tuning)
    with gradient_checkpointing(encoder.model, settings.gradient_checkpointing):
        trained = train(task, settings, seed, checkpoint, on_step)
    tuning.merge()
    average_weights(encoder.model, start, settings.contrastive.weight_averaging)
    after = held_out_measures(encoder, pairs, settings.contrastive)
    details = {"by_dim": {"before": before, "after": after}, "pairs": dict(pairs["kind"].value_counts().iter_rows())}
    return stage_record(
        "contrastive",
        settings.mode,
        trained,
        counted,
        training.height,
        of_all_dims(before, encoder),
        of_all_dims(after, encoder),
        details,
    )


def _planned_batches(texts: _Texts, settings: config.ContrastiveSettings, seed: int) -> list[np.ndarray]:
    """Pair rows of every batch, of all epochs in order."""
    rng = np.random.default_rng(seed)
    return [
        batch
        for _ in range(settings.epochs)
        for batch in distinct_batches(texts.keys, texts.lengths, settings.batch_pairs, rng)
    ]


def _task(
    encoder: Encoder,
    training: pl.DataFrame,
    texts: _Texts,
    batches: list[np.ndarray],
    settings: config.FinetuneSettings,
    tuning: Tuning,
) -> Task:
    loss = contrastive_loss(encoder, matryoshka_dims(encoder, settings.contrastive), settings)

    def batch_loss(rows: np.ndarray, _: np.random.Generator) -> Tensor:
        return loss([_features(encoder, texts.tokens, column) for column in texts.columns(rows)])

    pair_texts = [text or "" for column in training for text in column]
    shaped_by = settings.contrastive.model_dump_json() + digest_of(pair_texts)
    rate = learning_rate(settings.contrastive.learning_rate, settings.mode)
    return Task("contrastive", encoder.model, batches, batch_loss, rate, shaped_by, tuning)


def matryoshka_dims(encoder: Encoder, settings: config.ContrastiveSettings) -> list[int]:
    """The full dimension of the encoder's model, then the smaller ones of the settings, descending."""
    hidden = hidden_size(encoder.model)
    return sorted({hidden, *(dim for dim in settings.matryoshka_dims if dim < hidden)}, reverse=True)


def contrastive_loss(encoder: Encoder, dims: list[int], settings: config.FinetuneSettings) -> ColumnLoss:
    """The loss of columns of features: n anchors, their n positives and optionally up to n negatives.

    Each anchor has to identify its positive among all positives and negatives of the batch, by cosine / temperature, so
    it does not matter which pair a negative belongs to; the losses of all `dims` are added. If a batch has more than
    `mini_batch_pairs` pairs, gradients are cached: the same loss and gradients, up to dropout, in bounded memory.
    """
    contrastive = settings.contrastive
    model: Any = _SentenceModel(encoder, settings)
    scale = 1.0 / contrastive.temperature
    inner: nn.Module
    if contrastive.mini_batch_pairs < contrastive.batch_pairs:
        inner = CachedMultipleNegativesRankingLoss(model, scale=scale, mini_batch_size=contrastive.mini_batch_pairs)
    else:
        inner = MultipleNegativesRankingLoss(model, scale=scale)
    nested = MatryoshkaLoss(model, inner, matryoshka_dims=dims)

    def loss(columns: list[Features]) -> Tensor:
        with column_merging_disabled():  # which would need as many negatives as positives
            value: Tensor = nested(columns, None)
        return value

    return loss


def held_out_measures(
    encoder: Encoder, pairs: pl.DataFrame, settings: config.ContrastiveSettings
) -> dict[str, dict[str, float]]:
    """recall@10 and mrr@10 of the held-out pairs, by number of dimensions; empty without held-out pairs.

    The candidates are the positives of all held-out pairs.
    """
    pairs = pairs[held_out_rows(place(pairs["anchor"]), settings.held_out, MAX_HELD_OUT)]
    if pairs.is_empty():
        return {}
    dims = matryoshka_dims(encoder, settings)
    vectors = _vectors(replace(encoder, dim=dims[0]), pairs)
    ranks = {str(dim): vector_ranks(*vectors, dim) for dim in dims}
    return {
        dim: {f"recall@{K}": float(recall(rank, K).mean()), f"mrr@{K}": float(reciprocal_rank(rank, K).mean())}
        for dim, rank in ranks.items()
    }


def of_all_dims(measures: dict[str, dict[str, float]], encoder: Encoder) -> dict[str, float]:
    """Those of `held_out_measures` with all dimensions."""
    return measures.get(str(hidden_size(encoder.model)), {})


def retrieval_ranks(encoder: Encoder, pairs: pl.DataFrame) -> np.ndarray:
    """(n_pairs,) 0-based rank of each pair's positive among the distinct positives of all pairs, by cosine.

    Ties count against the positive, and other positives of the same anchor count as wrong, which is fine for comparing
    encoders.
    """
    return vector_ranks(*_vectors(encoder, pairs), encoder.dim)


def vector_ranks(anchors: np.ndarray, candidates: np.ndarray, targets: np.ndarray, dim: int) -> np.ndarray:
    """(n_pairs,) 0-based rank of each anchor's target among the candidates, by cosine of the leading `dim` dimensions.

    anchors: (n_pairs, at least dim); candidates: (n, at least dim); targets: (n_pairs,) rows of candidates.
    """
    anchors, candidates = unit_rows(anchors[:, :dim]), unit_rows(candidates[:, :dim])
    blocks = [
        target_ranks(anchors[start : start + _BLOCK_PAIRS] @ candidates.T, targets[start : start + _BLOCK_PAIRS])
        for start in range(0, len(anchors), _BLOCK_PAIRS)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=np.int64)


class _SentenceModel(nn.Sequential):
    """A model for sentence-transformers' losses: features in, a `sentence_embedding` out.

    It replaces SentenceTransformer, so that training and inference pool texts with the same code.
    """

    def __init__(self, encoder: Encoder, settings: config.FinetuneSettings) -> None:
        super().__init__(encoder.model)
        self.encoder = encoder
        self.settings = settings

    def forward(self, features: Features) -> dict[str, Tensor]:
        ids, mask = features["input_ids"], features["attention_mask"]
        # Here and not around the loss, because cached gradients run this again in the backward pass.
        with autocast(ids.device, self.settings):
            return {"sentence_embedding": self._pooled(ids, mask)}

    def _pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, hidden) vectors of (n, longest) token ids. A CPU spends as much time on padding as on words, so texts of
        similar length are encoded together; a GPU is faster with all texts at once."""
        if ids.device.type != "cpu" or len(ids) <= _CPU_TEXTS:
            return self.encoder.pooled(ids, mask)
        lengths = mask.sum(dim=1)
        order = torch.argsort(lengths, stable=True)
        parts = []
        for rows in torch.split(order, _CPU_TEXTS):
            longest = int(lengths[rows].max())
            parts.append(self.encoder.pooled(ids[rows, :longest], mask[rows, :longest]))
        return torch.cat(parts)[torch.argsort(order)]

    def get_embedding_dimension(self) -> int:
        """The dimension, which sentence-transformers checks."""
        return hidden_size(self.encoder.model)


@dataclass(frozen=True)
class _Texts:
    """The tokens of each distinct text, and for each pair the rows of its texts in them.

    anchor, positive, negative: (n_pairs,) rows of `tokens`, negative -1 for none; keys: (n_pairs, 6) int64 numbers of
    items and texts, none of which may occur twice in a batch, -1 for none.
    """

    tokens: list[list[int]]
    anchor: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    keys: np.ndarray

    def columns(self, rows: np.ndarray) -> list[np.ndarray]:
        """Rows of the anchors, the positives and, if there are any, the negatives of these pairs."""
        negatives = self.negative[rows]
        negatives = negatives[negatives >= 0]
        return [self.anchor[rows], self.positive[rows], *([negatives] if len(negatives) else [])]

    @property
    def lengths(self) -> np.ndarray:
        """(n_pairs,) number of tokens of all texts of a pair."""
        length = np.array([*map(len, self.tokens), 0])  # the last one stands for a missing text
        return length[self.anchor] + length[self.positive] + length[self.negative]


def _texts(encoder: Encoder, pairs: pl.DataFrame) -> _Texts:
    names = ("anchor", "positive", "negative")
    distinct = pl.concat([pairs[name].alias("text") for name in names]).drop_nulls().unique(maintain_order=True)
    owners = pl.concat([pairs[f"{name}_item"].alias("item") for name in names]).drop_nulls().unique(maintain_order=True)
    anchor, positive, negative = (positions(pairs[name], distinct) for name in names)
    items = [positions(pairs[f"{name}_item"], owners) for name in names]
    keys = [*items, *(np.where(text >= 0, text + len(owners), -1) for text in (anchor, positive, negative))]
    return _Texts(encoder.tokenize(distinct.to_list()), anchor, positive, negative, np.stack(keys, axis=1))


def _features(encoder: Encoder, tokens: list[list[int]], rows: np.ndarray) -> Features:
    ids, mask = padded([tokens[row] for row in rows], encoder.pad_id)
    return {"input_ids": ids.to(encoder.device), "attention_mask": mask.to(encoder.device)}


def _vectors(encoder: Encoder, pairs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n_pairs, dim) vectors of the anchors, (n, dim) of the distinct positives, (n_pairs,) the right row of these."""
    distinct = pairs["positive"].unique(maintain_order=True)
    anchors = encoder.encode(pairs["anchor"].to_list())
    return anchors, encoder.encode(distinct.to_list()), positions(pairs["positive"], distinct)
