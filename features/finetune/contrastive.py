"""The contrastive stage: texts that belong together come to lie together.

In-batch negatives (Henderson et al. 2017, "Efficient natural language response suggestion for Smart Reply") with cached
gradients where the batch does not fit into memory (Gao et al. 2021, "Scaling deep contrastive learning batch size under
memory limited setup"), on leading dimensions too (Kusupati et al. 2022, "Matryoshka representation learning"). The
losses are sentence-transformers' own. In the end the weights before are averaged in (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models"): pairs teach one shop's ways, and long training on them forgets the language.
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
from features.finetune.loop import Task, Told, autocast, steps_of, train
from features.finetune.record import StageRecord, stage_record
from features.finetune.tuning import average_weights, copied_weights, gradient_checkpointing, learning_rate, tune
from recsys import config
from recsys.errors import DataError
from recsys.interactions import positions
from recsys.metrics import recall, reciprocal_rank, target_ranks
from recsys.whitening import unit_rows

K: Final = 10
MAX_HELD_OUT: Final = 2000
"""So many held-out pairs, and their positives, are enough to tell two encoders apart."""

_BLOCK_PAIRS: Final = 512

_ALIKE_TEXTS: Final = 32
"""So many texts of like length are read together on a processor."""

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
    told: Told | None = None,
) -> StageRecord:
    """Tunes the encoder in place on the pairs of `pairs.training_pairs`, merges what can be merged, and averages
    the weights before in, by the share `settings.contrastive.weight_averaging`.

    A share of the anchors is held out; on their pairs `recall@10` and `mrr@10` are measured before and after, the
    positive sought among all held-out positives (`retrieval_ranks`). details: the same by leading dimensions.
    checkpoint, told, and several processes: as in `loop.train`.

    Raises DataError where no batch can be made: without pairs, or where all are of one item.
    """
    own = settings.contrastive
    places = place(pairs["anchor"])
    training = pairs.filter(places >= own.held_out)
    texts = _texts(encoder, training)
    rng = np.random.default_rng(seed)
    batches = [
        batch for _ in range(own.epochs) for batch in distinct_batches(texts.keys, texts.lengths, own.batch_pairs, rng)
    ]
    if not batches:
        raise DataError(
            f"no batch can be made of {training.height} pairs ({pairs.height - training.height} more are held out): "
            "they need two that share no item; ingest more events, or leave contrastive out of finetune.stages"
        )
    dims = matryoshka_dims(encoder, own)
    before = held_out_measures(encoder, pairs, own)
    start = copied_weights(encoder.model) if own.weight_averaging else {}
    tuning = tune(encoder.model, settings, steps_of(len(batches), settings), seed)
    counted = tuning.parameters()
    loss = contrastive_loss(encoder, dims, settings)

    def batch_loss(rows: np.ndarray, _: np.random.Generator) -> Tensor:
        return loss([_features(encoder, texts.tokens, column) for column in texts.columns(rows)])

    shaped_by = own.model_dump_json() + digest_of([text or "" for column in training for text in column])
    rate = learning_rate(own.learning_rate, settings.mode)
    task = Task("contrastive", encoder.model, batches, batch_loss, rate, shaped_by, tuning)
    with gradient_checkpointing(encoder.model, settings.gradient_checkpointing):
        trained = train(task, settings, seed, checkpoint, told)
    tuning.merge()
    average_weights(encoder.model, start, own.weight_averaging)
    after = held_out_measures(encoder, pairs, own)
    details = {"by_dim": {"before": before, "after": after}, "pairs": dict(pairs["kind"].value_counts().iter_rows())}
    whole = str(dims[0])
    return stage_record(
        "contrastive",
        settings.mode,
        trained,
        counted,
        training.height,
        before.get(whole, {}),
        after.get(whole, {}),
        details,
    )


def matryoshka_dims(encoder: Encoder, settings: config.ContrastiveSettings) -> list[int]:
    """All dimensions of the encoder's model, then those of the settings that are fewer, descending."""
    hidden = hidden_size(encoder.model)
    return sorted({hidden, *(dim for dim in settings.matryoshka_dims if dim < hidden)}, reverse=True)


def contrastive_loss(encoder: Encoder, dims: list[int], settings: config.FinetuneSettings) -> ColumnLoss:
    """The loss of columns of features: n anchors, their n positives and, where there are any, up to n negatives.

    Each anchor is to find its positive among all positives and negatives of the batch, by cosine / temperature, so it
    does not matter whose a negative is; the losses of all `dims` add up. Where a batch has more than
    `mini_batch_pairs`, gradients are cached: the same loss and gradients, up to dropout, in bounded memory.
    """
    own = settings.contrastive
    model: Any = _SentenceModel(encoder, settings)
    scale = 1.0 / own.temperature
    inner: nn.Module
    if own.mini_batch_pairs < own.batch_pairs:
        inner = CachedMultipleNegativesRankingLoss(model, scale=scale, mini_batch_size=own.mini_batch_pairs)
    else:
        inner = MultipleNegativesRankingLoss(model, scale=scale)
    nested = MatryoshkaLoss(model, inner, matryoshka_dims=dims)

    def loss(columns: list[Features]) -> Tensor:
        with column_merging_disabled():  # which needs as many negatives as positives, or complains
            value: Tensor = nested(columns, None)
        return value

    return loss


def held_out_measures(
    encoder: Encoder, pairs: pl.DataFrame, settings: config.ContrastiveSettings
) -> dict[str, dict[str, float]]:
    """recall@10 and mrr@10 of the pairs that are held out, by number of dimensions, the positive sought among all their
    positives; empty where none are."""
    pairs = pairs[held_out_rows(place(pairs["anchor"]), settings.held_out, MAX_HELD_OUT)]
    if pairs.is_empty():
        return {}
    dims = matryoshka_dims(encoder, settings)
    told = _vectors(replace(encoder, dim=dims[0]), pairs)
    ranks = {str(dim): vector_ranks(*told, dim) for dim in dims}
    return {
        dim: {f"recall@{K}": float(recall(rank, K).mean()), f"mrr@{K}": float(reciprocal_rank(rank, K).mean())}
        for dim, rank in ranks.items()
    }


def retrieval_ranks(encoder: Encoder, pairs: pl.DataFrame) -> np.ndarray:
    """(n_pairs,) 0-based rank of each pair's positive among the distinct positives of all, by cosine to its anchor.

    Ties count against the positive, and other positives of the same anchor count as wrong: it compares encoders.
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
    """What sentence-transformers' losses take for a model of theirs: features in, a `sentence_embedding` out.

    A thin wrapper instead of a SentenceTransformer, so that texts are pooled while training by the very code that
    pools them afterwards.
    """

    def __init__(self, encoder: Encoder, settings: config.FinetuneSettings) -> None:
        super().__init__(encoder.model)
        self.encoder = encoder
        self.settings = settings

    def forward(self, features: Features) -> dict[str, Tensor]:
        ids, mask = features["input_ids"], features["attention_mask"]
        # Here and not around the loss: cached gradients run this a second time while going backward.
        with autocast(ids.device, self.settings):
            return {"sentence_embedding": self._pooled(ids, mask)}

    def _pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, hidden) of (n, longest) texts. A processor spends on padding what it spends on words, so it reads texts
        of like length together; a GPU is faster with all at once."""
        if ids.device.type != "cpu" or len(ids) <= _ALIKE_TEXTS:
            return self.encoder.pooled(ids, mask)
        lengths = mask.sum(dim=1)
        order = torch.argsort(lengths, stable=True)
        parts = []
        for rows in torch.split(order, _ALIKE_TEXTS):
            longest = int(lengths[rows].max())
            parts.append(self.encoder.pooled(ids[rows, :longest], mask[rows, :longest]))
        return torch.cat(parts)[torch.argsort(order)]

    def get_embedding_dimension(self) -> int:
        """The number that sentence-transformers checks dimensions against."""
        return hidden_size(self.encoder.model)


@dataclass(frozen=True)
class _Texts:
    """Each text's tokens once, and for every pair the rows of its texts in them; negative: -1 where there is none.

    keys: (n_pairs, 6) int64 of what may not occur twice in a batch, the items and the texts; -1 for none.
    """

    tokens: list[list[int]]
    anchor: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    keys: np.ndarray

    def columns(self, rows: np.ndarray) -> list[np.ndarray]:
        """Anchors and positives of these pairs, and the negatives of those that have one."""
        negatives = self.negative[rows]
        negatives = negatives[negatives >= 0]
        return [self.anchor[rows], self.positive[rows], *([negatives] if len(negatives) else [])]

    @property
    def lengths(self) -> np.ndarray:
        """(n_pairs,) tokens of all texts of a pair."""
        length = np.array([*map(len, self.tokens), 0])  # the last is that of no text
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
    """(n_pairs, dim) vectors of the anchors, (n, dim) of the distinct positives, (n_pairs,) which of them is right."""
    distinct = pairs["positive"].unique(maintain_order=True)
    anchors = encoder.encode(pairs["anchor"].to_list())
    return anchors, encoder.encode(distinct.to_list()), positions(pairs["positive"], distinct)
