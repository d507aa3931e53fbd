"""Distillation: a student with some of the encoder's layers is trained to reproduce the encoder's vectors.

(Layers taken from the teacher as in Sanh et al. 2019, "DistilBERT"; the vectors as the only target as in Reimers and
Gurevych 2020, "Making monolingual sentence embeddings multilingual using knowledge distillation".) This
needs no labels. A student's vectors are comparable only with its teacher's, as `features/encoder/query_encoder.py`
checks.
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
from features.finetune.loop import OnStep, Task, Trained, autocast, steps_of, train
from features.finetune.tuning import gradient_checkpointing, tune
from recsys import config
from recsys.errors import DataError, EncoderError


def pruned(encoder: Encoder, keep_every: int) -> Encoder:
    """A copy of the encoder with every `keep_every`-th of its layers, counted back from the last; 1 keeps all.

    Raises EncoderError if its layers cannot be identified, or have bottleneck adapters.
    """
    if bottlenecks(encoder.model) is not None:
        raise EncoderError(
            f"{encoder.id}: an encoder with bottleneck adapters cannot be pruned; tune it in another mode"
        )
    model: Any = copy.deepcopy(encoder.model)
    try:
        layers = transformer_layers(model)
    except ValueError as error:
        raise EncoderError(f"{encoder.id}: cannot be pruned: {error}") from None
    n_layers = len(layers)
    layer_rows = kept_layers(n_layers, keep_every)
    for row in sorted(set(range(n_layers)) - set(layer_rows), reverse=True):
        del layers[row]
    text_config = model.config.get_text_config()
    text_config.num_hidden_layers = len(layer_rows)
    if getattr(text_config, "layer_types", None):
        text_config.layer_types = [text_config.layer_types[row] for row in layer_rows]
    return replace(encoder, model=model)


def kept_layers(n_layers: int, keep_every: int) -> list[int]:
    """Ascending 0-based layers that stay; always including the last one, whose output is pooled."""
    return list(range(n_layers - 1, -1, -keep_every))[::-1]


def distill(
    teacher: Encoder,
    student: Encoder,
    texts: Sequence[str],
    settings: config.FinetuneSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Train all weights of the student in place to reproduce the teacher's vectors.

    The loss is 1 - cosine, which for vectors of norm 1 is half of their squared distance, over all dimensions. For both
    encoders texts are cut at the student's `max_tokens`. checkpoint, on_step and errors: as in `loop.train`. Raises
    DataError without texts.
    """
    if not texts:
        raise DataError(f"no texts to distil {teacher.id} on; ingest a catalogue, reviews or searches")
    distill_settings = settings.distill
    rng = np.random.default_rng(seed)
    if len(texts) > distill_settings.max_texts:
        texts = [texts[row] for row in np.sort(rng.choice(len(texts), distill_settings.max_texts, replace=False))]
    hidden = hidden_size(teacher.model)
    targets = replace(teacher, dim=hidden, max_tokens=student.max_tokens).encode(texts)  # (n_texts, hidden)
    tokens = student.tokenize(texts)
    batches = [
        batch
        for _ in range(distill_settings.epochs)
        for batch in _shuffled_batches(tokens, distill_settings.batch_tokens, rng)
    ]

    def loss(rows: np.ndarray, _: np.random.Generator) -> Tensor:
        ids, mask = padded([tokens[row] for row in rows], student.pad_id)
        with autocast(student.device, settings):
            vectors = student.pooled(ids.to(student.device), mask.to(student.device))
        target = torch.from_numpy(targets[rows]).to(student.device)
        return 1.0 - torch.nn.functional.cosine_similarity(vectors.float(), target, dim=1).mean()

    full = settings.model_copy(update={"mode": "full"})
    tuning = tune(student.model, full, steps_of(len(batches), full), seed)
    shaped_by = distill_settings.model_dump_json() + digest_of([teacher.sha256, *texts])
    task = Task("distill", student.model, batches, loss, distill_settings.learning_rate, shaped_by, tuning)
    with gradient_checkpointing(student.model, settings.gradient_checkpointing):
        trained = train(task, full, seed, checkpoint, on_step)
    tuning.merge()
    return trained


def _shuffled_batches(tokens: list[list[int]], batch_tokens: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches of texts of similar length, in random order; every text occurs once."""
    order = rng.permutation(len(tokens))
    batches = [order[rows] for rows in length_batches([len(tokens[row]) for row in order], batch_tokens)]
    return [batches[place] for place in rng.permutation(len(batches))]
