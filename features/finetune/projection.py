"""Fits the projection: the linear map of finished vectors under which what shoppers choose is near what they asked for.

It starts as the PCA whitening of the texts (`recsys.whitening`), whole, half or none, and learns, in those coordinates,
from `features.finetune.choices`. As the vectors stand still, each text is encoded once, and each choice is told apart
from thousands of texts at a time: minutes where tuning the encoder as far would take hours. The contrastive stage then
tunes the encoder through it, since a head that fits already keeps tuning from undoing what the encoder knows (Kumar et
al. 2022, "Fine-tuning can distort pretrained features and underperform out-of-distribution").
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
from features.finetune.contrastive import held_out_measures, matryoshka_dims
from features.finetune.loop import Task, Told, train
from features.finetune.record import StageRecord, stage_record
from features.finetune.tuning import Parameters
from recsys import config
from recsys.errors import DataError
from recsys.metrics import reciprocal_rank, target_ranks
from recsys.whitening import Whitening, fit_whitening, unit_rows

STAGE: Final = "projection"

BATCH_CHOICES: Final = 512

RIVALS: Final = 4096
"""Each choice is told apart from so many texts, drawn anew for every step; from all where there are no more."""

DROPOUT: Final = 0.1

POWERS: Final = (0.0, 0.5, 1.0)
"""How far the texts may be whitened to begin with. A few texts show no directions that are worth being blown up."""

JUDGED: Final = 2000
"""So many choices, drawn at random, tell how far."""


def fit_projection(
    encoder: Encoder,
    pairs: pl.DataFrame,
    histories: pl.DataFrame,
    settings: config.FinetuneSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    told: Told | None = None,
) -> StageRecord:
    """Puts a new projection into the encoder's model, in the place of any before.

    pairs, histories: as `choices` takes them; what is held out of the contrastive stage is held out of this one, and
    measured before and after as there. checkpoint, told, and several processes: as in `loop.train`.

    Raises DataError where there are no two choices.
    """
    own = settings.projection
    learned = choices(pairs, histories, own.decay, settings.contrastive.held_out, seed)
    if len(learned) < 2:
        raise DataError(
            f"{len(learned)} choices are too few to fit a projection to; ingest more events, or leave projection out "
            "of finetune.stages"
        )
    dims = matryoshka_dims(encoder, settings.contrastive)
    before = held_out_measures(encoder, pairs, settings.contrastive)
    remove_projection(encoder.model)
    vectors = replace(encoder, dim=dims[0]).encode(learned.texts)  # (n_texts, hidden)
    rng = np.random.default_rng(seed)
    whitening = starting_point(vectors, learned, rng)
    whitened = torch.from_numpy(whitening(vectors)).to(encoder.device)  # (n_texts, k)
    turn = nn.Linear(whitened.shape[1], whitened.shape[1], bias=False).to(encoder.device)
    nn.init.eye_(turn.weight)
    rivals = np.unique(learned.chosen)

    def loss(rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        among = np.sort(rng.choice(rivals, RIVALS, replace=False)) if len(rivals) > RIVALS else rivals
        asked, chosen = learned.asked[rows], learned.chosen[rows]
        needed = np.unique(np.concatenate([asked.indices, chosen, among]))
        turned = turn(dropout(whitened[torch.from_numpy(needed).to(whitened.device)], DROPOUT))  # (n_needed, k)
        batch = batch_of(asked, chosen, among, needed, whitened.device)
        return torch.stack([choice_loss(turned[:, :dim], batch, own.temperature) for dim in dims]).mean()

    n_steps = -(-len(learned) // BATCH_CHOICES)
    epochs = [np.array_split(rng.permutation(len(learned)), n_steps) for _ in range(own.epochs)]
    matrices = (learned.asked.data, learned.asked.indices, learned.asked.indptr, learned.chosen)
    shaped_by = own.model_dump_json() + digest_of([str(dims), vectors, *matrices])
    batches = [batch for epoch in epochs for batch in epoch]
    trained = train(Task(STAGE, turn, batches, loss, own.learning_rate, shaped_by), settings, seed, checkpoint, told)
    weight, bias = composed(turn.weight.detach().cpu().numpy(), whitening)
    insert_projection(encoder.model, weight, bias)
    after = held_out_measures(encoder, pairs, settings.contrastive)
    n_weights = weight.numel() + bias.numel()
    counted = Parameters(n_weights, sum(w.numel() for w in encoder.model.parameters()))
    whole = str(dims[0])
    details = {"by_dim": {"before": before, "after": after}}
    return stage_record(
        STAGE, "linear", trained, counted, len(learned), before.get(whole, {}), after.get(whole, {}), details
    )


@dataclass(frozen=True)
class Batch:
    """Choices of one step, as positions in the texts that they need.

    bags, weights: (n_entries,) what was asked for, flat; starts: (n,) where each choice's part of them begins; chosen:
    (n,); rivals: (m,); left_out: (n, m) bool, the rivals that a choice is not told apart from: what was asked for, and
    itself.
    """

    bags: Tensor
    weights: Tensor
    starts: Tensor
    chosen: Tensor
    rivals: Tensor
    left_out: Tensor


def batch_of(
    asked: sp.csr_matrix, chosen: np.ndarray, rivals: np.ndarray, needed: np.ndarray, device: torch.device
) -> Batch:
    """asked, chosen: of the batch, as in `Choices`; rivals, needed: ascending rows of its texts, `needed` has all."""
    left_out = np.zeros((len(chosen), len(rivals)), dtype=bool)
    choice = np.concatenate([np.repeat(np.arange(len(chosen)), np.diff(asked.indptr)), np.arange(len(chosen))])
    text = np.concatenate([asked.indices, chosen])
    place = np.minimum(np.searchsorted(rivals, text), len(rivals) - 1)
    is_rival = rivals[place] == text
    left_out[choice[is_rival], place[is_rival]] = True

    def positions(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.searchsorted(needed, rows)).to(device)

    return Batch(
        positions(asked.indices),
        torch.from_numpy(asked.data).to(device),
        torch.from_numpy(asked.indptr[:-1].astype(np.int64)).to(device),
        positions(chosen),
        positions(rivals),
        torch.from_numpy(left_out).to(device),
    )


def choice_loss(vectors: Tensor, batch: Batch, temperature: float) -> Tensor:
    """Cross entropy of the softmax that chooses by cosine / temperature to the weighted mean of what was asked for.

    vectors: (n_needed, dim), of any norm.
    """
    units = normalize(vectors, dim=1)
    asked = embedding_bag(batch.bags, units, batch.starts, mode="sum", per_sample_weights=batch.weights)  # (n, dim)
    asked = normalize(asked, dim=1)
    own = (asked * units[batch.chosen]).sum(dim=1, keepdim=True)  # (n, 1)
    others = (asked @ units[batch.rivals].T).masked_fill(batch.left_out, -torch.inf)  # (n, m)
    logits = torch.cat([own, others], dim=1) / temperature
    return cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def starting_point(vectors: np.ndarray, learned: Choices, rng: np.random.Generator) -> Whitening:
    """The whitening of (n_texts, hidden) vectors by which choices are found best, by reciprocal rank."""
    judged = np.sort(rng.permutation(len(learned))[:JUDGED])
    asked, chosen = learned.asked[judged], learned.chosen[judged]
    among, targets = np.unique(chosen, return_inverse=True)
    met = asked[:, among].tocoo()

    def found(whitening: Whitening) -> float:
        whitened = whitening(vectors)
        scores = unit_rows(np.asarray(asked @ whitened)) @ whitened[among].T
        scores[met.row, met.col] = -np.inf
        return float(reciprocal_rank(target_ranks(scores, targets), len(among)).mean())

    return max((fit_whitening(vectors, vectors.shape[1], power) for power in POWERS), key=found)


def composed(turn: np.ndarray, whitening: Whitening) -> tuple[Tensor, Tensor]:
    """Weight (hidden, hidden) and bias (hidden,) that do the same at once, up to length; where the whitening has only
    k < hidden dimensions, the last ones are zero. turn: (k, k)."""
    hidden, k = whitening.projection.shape
    weight = np.zeros((hidden, hidden), dtype=np.float32)
    weight[:k] = turn @ whitening.projection.T
    return torch.from_numpy(weight), torch.from_numpy(-weight @ whitening.mean)
