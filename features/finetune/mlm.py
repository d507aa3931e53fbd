"""The masked language modelling stage: the encoder learns the words and phrases of the shop's own texts.

(Devlin et al. 2019, "BERT"; as a stage before the task itself: Gururangan et al. 2020, "Don't stop pretraining".) An
encoder of sentences comes without the head that guesses words, so a new one is made: BERT's, tied to the encoder's own
input embeddings. Untrained it guesses nothing, so perplexity "before" is that of a head which was trained on the
encoder as it came: for as many steps, on the same batches and masks, as encoder and head are then trained together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from features.encoder.adapters import hidden_size
from features.encoder.encoder import Encoder, length_batches, padded
from features.finetune.checkpoint import digest_of
from features.finetune.held_out import held_out_rows, place
from features.finetune.loop import Task, Told, Trained, autocast, steps_of, train
from features.finetune.masking import Masking, masking_of, word_embeddings
from features.finetune.record import StageRecord, stage_record
from features.finetune.tuning import gradient_checkpointing, learning_rate, tune
from features.text.cleaning import clean
from recsys import config
from recsys.errors import DataError
from recsys.sequence.histories import length_bucketed

MAX_HELD_OUT: Final = 2000
"""So many held-out texts are enough to tell perplexities apart."""

MAX_CROSS_ENTROPY: Final = 700.0
"""Beyond it its exponential is no number."""


def tune_mlm(
    encoder: Encoder,
    texts: Iterable[str],
    settings: config.FinetuneSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    told: Told | None = None,
) -> StageRecord:
    """Tunes the encoder in place on distinct texts, and merges what can be merged; the head is thrown away.

    `perplexity` is exp of the mean cross-entropy of the guessed tokens of held-out texts, masked alike every time.
    before: the head alone trained; after: both; details: `perplexity_untrained_head`, close to the vocabulary's size.
    checkpoint: a folder for the states of the three runs: the head alone to warm up, from there the head alone, and
    again from there the head with the encoder. told, and several processes: as in `loop.train`.

    Raises DataError without words to train on and to hold out, and where the encoder has no mask token.
    """
    own = settings.mlm
    masking = masking_of(encoder, own.mask_share)
    tokens, held_out = _split(encoder, texts, masking, own, seed)
    lengths = np.array([len(ids) for ids in tokens], dtype=np.int64)
    rng = np.random.default_rng(seed)
    warm_up = [batch for _ in range(own.head_epochs) for batch in length_bucketed(lengths, own.batch_tokens, rng)]
    batches = [batch for _ in range(own.epochs) for batch in length_bucketed(lengths, own.batch_tokens, rng)]
    encoder.model.requires_grad_(False)
    head = _new_head(encoder, seed)
    both = nn.ModuleDict({"encoder": encoder.model, "head": head})

    def loss(rows: np.ndarray, draws: np.random.Generator) -> Tensor:
        return guessed_losses(encoder, head, [tokens[row] for row in rows], masking, draws, settings).mean()

    def measured() -> float:
        return perplexity(encoder, head, held_out, masking, settings)

    shaped_by = own.model_dump_json() + digest_of(map(np.array, tokens))
    head_alone = Task("mlm head", both, warm_up, loss, own.head_learning_rate, shaped_by)
    untrained = measured()
    _run(head_alone, settings, seed, checkpoint, told)
    warm = {name: value.clone() for name, value in head.state_dict().items()}
    _run(replace(head_alone, stage="mlm control", batches=batches), settings, seed, checkpoint, told)
    before = measured()
    head.load_state_dict(warm)
    tuning = tune(encoder.model, settings, steps_of(len(batches), settings), seed)
    counted = tuning.parameters()
    rate = learning_rate(own.learning_rate, settings.mode)
    with gradient_checkpointing(encoder.model, settings.gradient_checkpointing):
        trained = _run(Task("mlm", both, batches, loss, rate, shaped_by, tuning), settings, seed, checkpoint, told)
    after = measured()
    tuning.merge()
    details = {
        "perplexity_untrained_head": untrained,
        "held_out": len(held_out),
        "vocabulary": len(word_embeddings(encoder)),
    }
    return stage_record(
        "mlm",
        settings.mode,
        trained,
        counted,
        len(tokens),
        {"perplexity": before},
        {"perplexity": after},
        details,
    )


class Head(nn.Module):
    """BERT's: a layer of its own, then a product with the input embeddings of every word of the vocabulary."""

    def __init__(self, hidden: int, embedding_dim: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, embedding_dim)
        self.norm = nn.LayerNorm(embedding_dim)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """(n, hidden) and the (vocabulary, embedding_dim) input embeddings to (n, vocabulary) logits."""
        return nn.functional.linear(self.norm(nn.functional.gelu(self.dense(hidden))), embeddings, self.bias)


def guessed_losses(
    encoder: Encoder,
    head: Head,
    tokens: list[list[int]],
    masking: Masking,
    rng: np.random.Generator,
    settings: config.FinetuneSettings,
) -> Tensor:
    """(n_guessed,) float32 cross-entropy of each guessed token. Logits are computed for these alone."""
    ids, mask = padded(tokens, encoder.pad_id)
    shown, guessed = masking(ids.numpy(), rng)
    device = encoder.device
    places = torch.from_numpy(guessed).to(device)
    with autocast(device, settings):
        states = encoder.model(input_ids=torch.from_numpy(shown).to(device), attention_mask=mask.to(device))
        logits = head(states.last_hidden_state[places], word_embeddings(encoder))  # (n_guessed, vocabulary)
    return nn.functional.cross_entropy(logits.float(), ids.to(device)[places], reduction="none")


def perplexity(
    encoder: Encoder, head: Head, tokens: list[list[int]], masking: Masking, settings: config.FinetuneSettings
) -> float:
    """exp of the mean cross-entropy over all guessed tokens of these texts, which are masked alike in every call."""
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
    worded = np.array([not special.issuperset(ids) for ids in tokens], dtype=bool)
    places = np.where(worded, place(distinct), np.nan)  # a text without a word is in neither part
    training = np.flatnonzero(places >= settings.held_out)
    held_out = held_out_rows(places, settings.held_out, MAX_HELD_OUT)
    if len(training) == 0 or len(held_out) == 0:
        raise DataError(
            f"masked language modelling: of {len(distinct)} distinct texts {int(worded.sum())} have words, "
            f"{len(training)} of them to train on and {len(held_out)} held out; it needs some of both: ingest more "
            "texts, raise finetune.mlm.held_out, or leave mlm out of finetune.stages"
        )
    if len(training) > settings.max_texts:
        training = np.sort(np.random.default_rng(seed).choice(training, settings.max_texts, replace=False))
    return [tokens[row] for row in training], [tokens[row] for row in held_out]


def _run(task: Task, settings: config.FinetuneSettings, seed: int, folder: Path | None, told: Told | None) -> Trained:
    checkpoint = None if folder is None else folder / f"{task.stage.replace(' ', '-')}.safetensors"
    return train(task, settings, seed, checkpoint, told)
