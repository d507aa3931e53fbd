"""Fit the projection: a linear map of the encoder's vectors that moves queries close to the items chosen after them.

It starts as the PCA whitening of the texts (`recsys.whitening`), full, half or none, and is trained in these
coordinates on `features.finetune.choices`. Because the encoder's vectors do not change, each text is encoded once, and
each choice is contrasted with thousands of texts at a time, which takes minutes instead of the hours of tuning the
encoder. The contrastive stage then tunes the encoder through the projection: a head that already fits keeps tuning from
destroying what the encoder has learned (Kumar et al. 2022, "Fine-tuning can distort pretrained features and
underperform out-of-distribution").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, embedding_bag, normalize

from features.encoder.encoder import Encoder
from features.encoder.projection import insert_projection, remove_projection
from features.finetune.checkpoint import digest_of
from features.finetune.choices import Choices, choices
from features.finetune.contrastive import held_out_measures, matryoshka_dims, of_all_dims
from features.finetune.loop import Loss, OnStep, Task, train
from features.finetune.record import StageRecord, stage_record
from features.finetune.tuning import Parameters
from recsys import config
from recsys.errors import DataError
from recsys.metrics import reciprocal_rank, target_ranks
from recsys.whitening import Whitening, fit_whitening, unit_rows

STAGE: Final = "projection"

BATCH_CHOICES: Final = 512

RIVALS: Final = 4096
"""Number of texts that each choice is contrasted with, drawn for every step; all texts if there are fewer."""

DROPOUT: Final = 0.1

POWERS: Final = (0.0, 0.5, 1.0)
"""Whitening powers that are tried as the start. With few texts, full whitening mostly amplifies noise."""

MAX_COMPARED: Final = 2000
"""Number of choices, drawn at random, on which the powers are compared."""


def fit_projection(
    encoder: Encoder,
    pairs: pl.DataFrame,
    histories: pl.DataFrame,
    settings: config.FinetuneSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    on_step: OnStep | None = None,
) -> StageRecord:
    """Fit a projection and insert it into the encoder's model, replacing an existing one.

    pairs, histories: as in `choices`; data held out from the contrastive stage are held out here as well, and measured
    in the same way. checkpoint, on_step, and several processes: as in `loop.train`.

    Raises DataError if there are fewer than two choices.
    """
    fitted = settings.projection
    data = choices(pairs, histories, fitted.decay, settings.contrastive.held_out, seed)
    if len(data) < 2:
        raise DataError(
            f"{len(data)} choices are not enough to fit a projection; ingest more events, or leave projection out of "
            "finetune.stages"
        )
    dims = matryoshka_dims(encoder, settings.contrastive)
    before = held_out_measures(encoder, pairs, settings.contrastive)
    remove_projection(encoder.model)
    vectors = replace(encoder, dim=dims[0]).encode(data.texts)  # (n_texts, hidden)
    rng = np.random.default_rng(seed)
    whitening = starting_point(vectors, data, rng)
    whitened = torch.from_numpy(whitening(vectors)).to(encoder.device)  # (n_texts, k)
    turn = nn.Linear(whitened.shape[1], whitened.shape[1], bias=False).to(encoder.device)
    nn.init.eye_(turn.weight)
    loss = _batch_loss(turn, whitened, data, dims, fitted.temperature)
    batches = _planned_batches(len(data), fitted.epochs, rng)
    matrices = (data.queries.data, data.queries.indices, data.queries.indptr, data.chosen)
    shaped_by = fitted.model_dump_json() + digest_of([str(dims), vectors, *matrices])
    task = Task(STAGE, turn, batches, loss, fitted.learning_rate, shaped_by)
    trained = train(task, settings, seed, checkpoint, on_step)
    weight, bias = composed(turn.weight.detach().cpu().numpy(), whitening)
    insert_projection(encoder.model, weight, bias)
    after = held_out_measures(encoder, pairs, settings.contrastive)
    counted = Parameters(weight.numel() + bias.numel(), sum(w.numel() for w in encoder.model.parameters()))
    measures = of_all_dims(before, encoder), of_all_dims(after, encoder)
    details = {"by_dim": {"before": before, "after": after}}
    return stage_record(STAGE, "linear", trained, counted, len(data), *measures, details)


def _batch_loss(turn: nn.Linear, whitened: Tensor, data: Choices, dims: list[int], temperature: float) -> Loss:
    """The mean `choice_loss` over `dims` of a batch's choices, among rivals drawn for the batch.

    turn: the map to be trained, of the (n_texts, k) whitened vectors.
    """
    texts = np.unique(data.chosen)

    def loss(rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        rivals = np.sort(rng.choice(texts, RIVALS, replace=False)) if len(texts) > RIVALS else texts
        queries, chosen = data.queries[rows], data.chosen[rows]
        needed = np.unique(np.concatenate([queries.indices, chosen, rivals]))
        turned = turn(dropout(whitened[torch.from_numpy(needed).to(whitened.device)], DROPOUT))  # (n_needed, k)
        batch = batch_of(queries, chosen, rivals, needed, whitened.device)
        return torch.stack([choice_loss(turned[:, :dim], batch, temperature) for dim in dims]).mean()

    return loss


def _planned_batches(n: int, epochs: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Choice rows of every batch, of all epochs in order."""
    n_batches = -(-n // BATCH_CHOICES)
    return [batch for _ in range(epochs) for batch in np.array_split(rng.permutation(n), n_batches)]


@dataclass(frozen=True)
class Batch:
    """The choices of one step, as positions in the texts that they need.

    bags, weights: (n_entries,) texts of all queries and their weights; starts: (n,) first entry of each query; chosen:
    (n,); rivals: (m,); left_out: (n, m) bool, rivals that do not count for a choice: its query's texts, and itself.
    """

    bags: Tensor
    weights: Tensor
    starts: Tensor
    chosen: Tensor
    rivals: Tensor
    left_out: Tensor


def batch_of(
    queries: sp.csr_matrix, chosen: np.ndarray, rivals: np.ndarray, needed: np.ndarray, device: torch.device
) -> Batch:
    """The batch of these choices. queries, chosen: as in `Choices`; rivals, needed: ascending text rows, where `needed`
    includes all others."""
    left_out = np.zeros((len(chosen), len(rivals)), dtype=bool)
    choice = np.concatenate([np.repeat(np.arange(len(chosen)), np.diff(queries.indptr)), np.arange(len(chosen))])
    text = np.concatenate([queries.indices, chosen])
    place = np.minimum(np.searchsorted(rivals, text), len(rivals) - 1)
    is_rival = rivals[place] == text
    left_out[choice[is_rival], place[is_rival]] = True

    def positions(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.searchsorted(needed, rows)).to(device)

    return Batch(
        positions(queries.indices),
        torch.from_numpy(queries.data).to(device),
        torch.from_numpy(queries.indptr[:-1].astype(np.int64)).to(device),
        positions(chosen),
        positions(rivals),
        torch.from_numpy(left_out).to(device),
    )


def choice_loss(vectors: Tensor, batch: Batch, temperature: float) -> Tensor:
    """Cross-entropy of the chosen text among its rivals, by cosine / temperature to the weighted mean of the query.

    vectors: (n_needed, dim), of any norm.
    """
    units = normalize(vectors, dim=1)
    queries = embedding_bag(batch.bags, units, batch.starts, mode="sum", per_sample_weights=batch.weights)  # (n, dim)
    queries = normalize(queries, dim=1)
    positive = (queries * units[batch.chosen]).sum(dim=1, keepdim=True)  # (n, 1)
    others = (queries @ units[batch.rivals].T).masked_fill(batch.left_out, -torch.inf)  # (n, m)
    logits = torch.cat([positive, others], dim=1) / temperature
    return cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def starting_point(vectors: np.ndarray, data: Choices, rng: np.random.Generator) -> Whitening:
    """The whitening of (n_texts, hidden) vectors with the highest mean reciprocal rank of the choices."""
    compared = np.sort(rng.permutation(len(data))[:MAX_COMPARED])
    queries, chosen = data.queries[compared], data.chosen[compared]
    among, targets = np.unique(chosen, return_inverse=True)
    in_query = queries[:, among].tocoo()

    def mean_reciprocal_rank(whitening: Whitening) -> float:
        whitened = whitening(vectors)
        scores = unit_rows(np.asarray(queries @ whitened)) @ whitened[among].T
        scores[in_query.row, in_query.col] = -np.inf
        return float(reciprocal_rank(target_ranks(scores, targets), len(among)).mean())

    return max((fit_whitening(vectors, vectors.shape[1], power) for power in POWERS), key=mean_reciprocal_rank)


def composed(turn: np.ndarray, whitening: Whitening) -> tuple[Tensor, Tensor]:
    """Weight (hidden, hidden) and bias (hidden,) of the (k, k) map `turn` after the whitening, up to length.

    If the whitening has only k < hidden dimensions, the last ones are zero.
    """
    hidden, k = whitening.projection.shape
    weight = np.zeros((hidden, hidden), dtype=np.float32)
    weight[:k] = turn @ whitening.projection.T
    return torch.from_numpy(weight), torch.from_numpy(-weight @ whitening.mean)
