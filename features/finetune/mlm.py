"""The masked language modelling stage: the encoder learns the words and phrases of the shop's own texts.

(Devlin et al. 2019, "BERT"; as a stage before the task itself: Gururangan et al. 2020, "Don't stop pretraining".) An
encoder of sentences has no head that predicts words, so a new one is added: BERT's, tied to the encoder's input
embeddings. Because an untrained head predicts nothing, perplexity "before" is that of a head trained on the unchanged
encoder, for as many steps and on the same batches and masks as encoder and head are then trained together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from features.encoder.adapters import hidden_size
from features.encoder.encoder import Encoder, length_batches, padded
from features.finetune.checkpoint import digest_of
from features.finetune.held_out import held_out_rows, place
from features.finetune.loop import OnStep, Task, Trained, autocast, steps_of, train
from features.finetune.masking import Masking, masking_of, word_embeddings
from features.finetune.record import StageRecord, stage_record
from features.finetune.tuning import gradient_checkpointing, learning_rate, tune
from features.text.cleaning import clean
from recsys import config
from recsys.errors import DataError
from recsys.sequence.histories import length_bucketed

MAX_HELD_OUT: Final = 2000
"""This many held-out texts are enough to compare perplexities."""

MAX_CROSS_ENTROPY: Final = 700.0
"""The exponential of larger numbers overflows."""


def tune_mlm(
    encoder: Encoder,
    texts: Iterable[str],
    settings: config.FinetuneSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    on_step: OnStep | None = None,
) -> StageRecord:
    """Tune the encoder in place on distinct texts and merge the update into its weights; the head is discarded.

    `perplexity` is exp of the mean cross-entropy of the masked tokens of held-out texts, which are masked the same way
    every time. before: only the head trained; after: both trained; details: `perplexity_untrained_head`, close to the
    size of the vocabulary. checkpoint: a folder for the states of three runs: warm-up of the head, then from there
    the head alone, and again from there the head with the encoder. on_step, and several processes: as in `loop.train`.

    Raises DataError without texts to train on or to hold out, and if the encoder has no mask token.
    """
    mlm = settings.mlm
    masking = masking_of(encoder, mlm.mask_share)
    tokens, held_out = _split(encoder, texts, masking, mlm, seed)
    lengths = np.array([len(ids) for ids in tokens], dtype=np.int64)
    rng = np.random.default_rng(seed)
    warm_up = [batch for _ in range(mlm.head_epochs) for batch in length_bucketed(lengths, mlm.batch_tokens, rng)]
    batches = [batch for _ in range(mlm.epochs) for batch in length_bucketed(lengths, mlm.batch_tokens, rng)]
    encoder.model.requires_grad_(False)
    model = _MaskedModel(encoder, _new_head(encoder, seed), masking, tokens, held_out, settings)

    def run(task: Task) -> Trained:
        file = None if checkpoint is None else checkpoint / f"{task.stage.replace(' ', '-')}.safetensors"
        return train(task, settings, seed, file, on_step)

    shaped_by = mlm.model_dump_json() + digest_of(map(np.array, tokens))
    head_alone = Task("mlm head", model.modules, warm_up, model.loss, mlm.head_learning_rate, shaped_by)
    untrained = model.perplexity()
    before = _train_head(model, head_alone, batches, run)
    tuning = tune(encoder.model, settings, steps_of(len(batches), settings), seed)
    counted = tuning.parameters()
    rate = learning_rate(mlm.learning_rate, settings.mode)
    with gradient_checkpointing(encoder.model, settings.gradient_checkpointing):
        trained = run(Task("mlm", model.modules, batches, model.loss, rate, shaped_by, tuning))
    after = model.perplexity()
    tuning.merge()
    measures = {"perplexity": before}, {"perplexity": after}
    details = {"perplexity_untrained_head": untrained, "held_out": len(held_out)}
    details["vocabulary"] = len(word_embeddings(encoder))
    return stage_record("mlm", settings.mode, trained, counted, len(tokens), *measures, details)


def _train_head(
    model: _MaskedModel, head_alone: Task, batches: list[np.ndarray], run: Callable[[Task], Trained]
) -> float:
    """Warm the head up, and return the perplexity after training it alone on the same batches as later with the
    encoder. The head is left as it was after the warm-up."""
    run(head_alone)
    warm = {name: value.clone() for name, value in model.head.state_dict().items()}
    run(replace(head_alone, stage="mlm control", batches=batches))
    perplexity = model.perplexity()
    model.head.load_state_dict(warm)
    return perplexity


class Head(nn.Module):
    """BERT's head: one layer, then a product with the input embeddings of the whole vocabulary."""

    def __init__(self, hidden: int, embedding_dim: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, embedding_dim)
        self.norm = nn.LayerNorm(embedding_dim)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """(n, vocabulary) logits of (n, hidden) states and the (vocabulary, embedding_dim) input embeddings."""
        return nn.functional.linear(self.norm(nn.functional.gelu(self.dense(hidden))), embeddings, self.bias)


@dataclass(frozen=True)
class _MaskedModel:
    """An encoder with its head, and the texts that they are trained and evaluated on, as token ids."""

    encoder: Encoder
    head: Head
    masking: Masking
    tokens: list[list[int]]
    held_out: list[list[int]]
    settings: config.FinetuneSettings

    @cached_property
    def modules(self) -> nn.ModuleDict:
        """Encoder and head as one module."""
        return nn.ModuleDict({"encoder": self.encoder.model, "head": self.head})

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """The mean cross-entropy of the masked tokens of these training texts."""
        tokens = [self.tokens[row] for row in rows]
        return guessed_losses(self.encoder, self.head, tokens, self.masking, rng, self.settings).mean()

    def perplexity(self) -> float:
        """The perplexity on the held-out texts."""
        return perplexity(self.encoder, self.head, self.held_out, self.masking, self.settings)


def guessed_losses(
    encoder: Encoder,
    head: Head,
    tokens: list[list[int]],
    masking: Masking,
    rng: np.random.Generator,
    settings: config.FinetuneSettings,
) -> Tensor:
    """(n_masked,) float32 cross-entropy of each masked token; logits are computed for these only."""
    ids, mask = padded(tokens, encoder.pad_id)
    shown, guessed = masking(ids.numpy(), rng)
    device = encoder.device
    places = torch.from_numpy(guessed).to(device)
    with autocast(device, settings):
        states = encoder.model(input_ids=torch.from_numpy(shown).to(device), attention_mask=mask.to(device))
        logits = head(states.last_hidden_state[places], word_embeddings(encoder))  # (n_masked, vocabulary)
    return nn.functional.cross_entropy(logits.float(), ids.to(device)[places], reduction="none")


def perplexity(
    encoder: Encoder, head: Head, tokens: list[list[int]], masking: Masking, settings: config.FinetuneSettings
) -> float:
    """exp of the mean cross-entropy over all masked tokens of these texts, masked the same way in every call."""
    encoder.model.eval()
    total, count = 0.0, 0
    batches = length_batches([len(ids) for ids in tokens], settings.mlm.batch_tokens)
    with torch.inference_mode():
        for number, rows in enumerate(batches):
            rng = np.random.default_rng(number)
            values = guessed_losses(encoder, head, [tokens[row] for row in rows], masking, rng, settings)
            total += float(values.sum())
            count += len(values)
    return math.exp(min(total / count, MAX_CROSS_ENTROPY))


def _new_head(encoder: Encoder, seed: int) -> Head:
    vocabulary, embedding_dim = word_embeddings(encoder).shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden = hidden_size(encoder.model)
        return Head(hidden, embedding_dim, vocabulary).to(encoder.device)


def _split(
    encoder: Encoder, texts: Iterable[str], masking: Masking, settings: config.MlmSettings, seed: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Tokens of the distinct texts to train on, and of the held-out ones; texts without a word are left out."""
    distinct = list(dict.fromkeys(clean(text) for text in texts))
    tokens = encoder.tokenize(distinct)
    special = set(masking.special.tolist())
    has_words = np.array([not special.issuperset(ids) for ids in tokens], dtype=bool)
    places = np.where(has_words, place(distinct), np.nan)  # a text without a word is in neither part
    training = np.flatnonzero(places >= settings.held_out)
    held_out = held_out_rows(places, settings.held_out, MAX_HELD_OUT)
    if len(training) == 0 or len(held_out) == 0:
        raise DataError(
            f"masked language modelling: of {len(distinct)} distinct texts {int(has_words.sum())} have words, "
            f"{len(training)} of them for training and {len(held_out)} held out, but it needs both; ingest more "
            "texts, raise finetune.mlm.held_out, or leave mlm out of finetune.stages"
        )
    if len(training) > settings.max_texts:
        training = np.sort(np.random.default_rng(seed).choice(training, settings.max_texts, replace=False))
    return [tokens[row] for row in training], [tokens[row] for row in held_out]
