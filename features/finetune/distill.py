"""Fewer layers that say the same: a student is cut out of the encoder and trained to give its vectors.

(Layers taken from the teacher as in Sanh et al. 2019, "DistilBERT"; the vectors as the only target as in Reimers and
Gurevych 2020, "Making monolingual sentence embeddings multilingual using knowledge distillation".) Texts need no labels
for that. A student answers in its teacher's space, and in no other: `features/encoder/query_encoder.py` sees to it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.encoder.adapters import bottlenecks, hidden_size, transformer_layers
from features.encoder.encoder import Encoder, length_batches, padded
from features.finetune.checkpoint import digest_of
from features.finetune.loop import Task, Told, Trained, autocast, steps_of, train
from features.finetune.tuning import gradient_checkpointing, tune
from recsys import config
from recsys.errors import DataError, EncoderError


def pruned(encoder: Encoder, keep_every: int) -> Encoder:
    """A copy of the encoder with every `keep_every`-th of its layers, counted back from the last; 1 keeps all.

    Raises EncoderError where its layers cannot be told, or hold bottlenecks.
    """
    if bottlenecks(encoder.model) is not None:
        raise EncoderError(f"{encoder.id}: an encoder with bottlenecks cannot be pruned; tune it in another mode")
    model: Any = copy.deepcopy(encoder.model)
    try:
        layers = transformer_layers(model)
    except ValueError as error:
        raise EncoderError(f"{encoder.id}: cannot be pruned: {error}") from None
    n_layers = len(layers)
    kept = kept_layers(n_layers, keep_every)
    for row in sorted(set(range(n_layers)) - set(kept), reverse=True):
        del layers[row]
    told = model.config.get_text_config()
    told.num_hidden_layers = len(kept)
    if getattr(told, "layer_types", None):
        told.layer_types = [told.layer_types[row] for row in kept]
    return replace(encoder, model=model)


def kept_layers(n_layers: int, keep_every: int) -> list[int]:
    """Ascending 0-based layers that are kept; the last one always, as what is pooled comes out of it."""
    return list(range(n_layers - 1, -1, -keep_every))[::-1]


def distill(
    teacher: Encoder,
    student: Encoder,
    texts: Sequence[str],
    settings: config.FinetuneSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    told: Told | None = None,
) -> Trained:
    """Trains all weights of the student, in place, until its vectors lie beside the teacher's.

    The loss is 1 - cosine, which for vectors of norm 1 is half of their squared distance; all dimensions count. Texts
    are cut at the student's `max_tokens` for both. checkpoint, told and errors: as in `loop.train`; DataError where
    there are no texts.
    """
    if not texts:
        raise DataError(f"no texts to distil {teacher.id} with; ingest a catalogue, reviews or searches")
    own = settings.distill
    rng = np.random.default_rng(seed)
    if len(texts) > own.max_texts:
        texts = [texts[row] for row in np.sort(rng.choice(len(texts), own.max_texts, replace=False))]
    hidden = hidden_size(teacher.model)
    targets = replace(teacher, dim=hidden, max_tokens=student.max_tokens).encode(texts)  # (n_texts, hidden)
    tokens = student.tokenize(texts)
    batches = [batch for _ in range(own.epochs) for batch in _shuffled_batches(tokens, own.batch_tokens, rng)]

    def loss(rows: np.ndarray, _: np.random.Generator) -> Tensor:
        ids, mask = padded([tokens[row] for row in rows], student.pad_id)
        with autocast(student.device, settings):
            vectors = student.pooled(ids.to(student.device), mask.to(student.device))
        wanted = torch.from_numpy(targets[rows]).to(student.device)
        return 1.0 - torch.nn.functional.cosine_similarity(vectors.float(), wanted, dim=1).mean()

    full = settings.model_copy(update={"mode": "full"})
    tuning = tune(student.model, full, steps_of(len(batches), full), seed)
    shaped_by = own.model_dump_json() + digest_of([teacher.sha256, *texts])
    task = Task("distill", student.model, batches, loss, own.learning_rate, shaped_by, tuning)
    with gradient_checkpointing(student.model, settings.gradient_checkpointing):
        trained = train(task, full, seed, checkpoint, told)
    tuning.merge()
    return trained


def _shuffled_batches(tokens: list[list[int]], batch_tokens: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Every text once, texts of like length together, the batches in random order."""
    order = rng.permutation(len(tokens))
    batches = [order[rows] for rows in length_batches([len(tokens[row]) for row in order], batch_tokens)]
    return [batches[place] for place in rng.permutation(len(batches))]
