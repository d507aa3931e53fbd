"""The sentiment stage: a head that predicts the stars of a review from its text.

Stars are heavily skewed, so three remedies are compared by macro-F1 on validation users: class weights inverse to class
size, the focal loss (Lin et al. 2017, "Focal loss for dense object detection"), and oversampling to equally frequent
classes. With `words`, one of these heads is mixed with a regression on words (`word_classifier.py`); head and share are
those with the highest likelihood of the validation users' classes, because the F1 of few rare reviews is too noisy. A
temperature calibrates the probabilities, and offsets of the logits set the probability from which a class is chosen.
The encoder does not change, and its vectors are computed once. With `tune_encoder` a copy of it is then tuned together
with the best head (Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform
out-of-distribution": the head first).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from features.encoder.encoder import Encoder, padded
from features.finetune.checkpoint import digest_of
from features.finetune.imbalance import Variant, class_loss, epoch_rows
from features.finetune.labelled import Labelled, labelled_reviews
from features.finetune.loop import OnStep, Task, Trained, autocast, steps_of, train
from features.finetune.record import StageRecord, stage_record
from features.finetune.sentiment_head import HeadNetwork, SentimentHead
from features.finetune.tuning import Parameters, gradient_checkpointing, learning_rate, tune
from features.finetune.word_classifier import WordClassifier, fit_words
from recsys import config
from recsys.classification import (
    Classification,
    calibrated_loss,
    classification,
    fit_offsets,
    fit_temperature,
    softmax,
)
from recsys.sequence.histories import length_bucketed

WORDS_SHARES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Sentiment:
    """A fitted head with its encoder: the given one, or a tuned copy of it (`tuned`). A tuned copy has to be saved and
    loaded again, and its new id set in the head, before the two are used.

    validation: macro-F1 of each variant, of the tuned encoder under "tuned", with words under "with words", and finally
    with offsets under "with offsets"; test: of the chosen head, calibrated, on users that no choice was based on;
    majority: of always predicting the most frequent class.
    """

    head: SentimentHead
    encoder: Encoder
    tuned: bool
    validation: dict[str, float]
    test: Classification
    majority: Classification
    record: StageRecord


def fit_sentiment(
    encoder: Encoder,
    reviews: pl.DataFrame,
    settings: config.FinetuneSettings,
    seed: int,
    *,
    encode: Callable[[Sequence[str]], np.ndarray] | None = None,
    checkpoint: Path | None = None,
    on_step: OnStep | None = None,
) -> Sentiment:
    """The best head of `settings.sentiment.variants` and, with `tune_encoder`, a tuned encoder if that is better.

    The given encoder is not changed. encode: returns the (n, dim) vectors of texts, for example stored ones; by default
    the encoder's `encode`. checkpoint: a folder for the states of the runs; on_step, and several processes: as in
    `loop.train`. Raises DataError as `labelled_reviews` does.
    """
    sentiment = settings.sentiment
    data = labelled_reviews(reviews, sentiment.classes)
    vectors = (encode or encoder.encode)(data.texts)
    fitted = {
        variant: _fit_head(encoder, vectors, data, variant, settings, seed, checkpoint, on_step)
        for variant in sentiment.variants
    }
    validation: dict[str, float] = {name: _macro_f1(head, vectors, data) for name, (head, _) in fitted.items()}
    best = max(fitted, key=lambda variant: validation[variant])
    head, trained = fitted[best]
    counted = Parameters(*2 * [sum(weight.numel() for weight in head.network.parameters())])
    tuned = False
    if sentiment.tune_encoder:
        other = _tune_along(encoder, head, data, settings, seed, checkpoint, on_step)
        other_vectors = other.encoder.encode(data.texts)
        validation["tuned"] = _macro_f1(other.head, other_vectors, data)
        if validation["tuned"] > validation[best]:
            encoder, head, vectors, tuned = other.encoder, other.head, other_vectors, True
            trained, counted = other.trained, other.counted
    rows = data.rows(1)
    if sentiment.bag_of_words:
        head = _with_words([head] if tuned else [candidate for candidate, _ in fitted.values()], vectors, data, seed)
        validation["with words"] = _macro_f1(head, vectors, data)
    logits, labels = _logits(head, vectors, data, rows), data.labels[rows]
    offsets = tuple(fit_offsets(logits, labels).tolist())
    head = replace(head, temperature=fit_temperature(logits, labels), offsets=offsets)
    validation["with offsets"] = classification(softmax(logits), labels, head.classes(logits)).macro_f1
    return _evaluated(head, encoder, tuned, validation, vectors, data, settings, trained, counted)


def _fit_head(
    encoder: Encoder,
    vectors: np.ndarray,
    data: Labelled,
    variant: Variant,
    settings: config.FinetuneSettings,
    seed: int,
    folder: Path | None,
    on_step: OnStep | None,
) -> tuple[SentimentHead, Trained]:
    sentiment = settings.sentiment
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = HeadNetwork(vectors.shape[1], sentiment.hidden, data.n_classes, sentiment.dropout).to(encoder.device)
    inputs, labels = torch.from_numpy(vectors), torch.from_numpy(data.labels)
    rows, rng = data.rows(0), np.random.default_rng(seed)
    batches: list[np.ndarray] = []
    for _ in range(sentiment.epochs):
        order = epoch_rows(data.labels, rows, variant, rng)
        batches += [
            order[start : start + sentiment.batch_reviews] for start in range(0, len(order), sentiment.batch_reviews)
        ]
    loss = class_loss(variant, data.labels[rows], data.n_classes, sentiment.focal_gamma)

    def batch_loss(chosen: np.ndarray, _: np.random.Generator) -> Tensor:
        return loss(network(inputs[chosen].to(encoder.device)), labels[chosen].to(encoder.device))

    shaped_by = sentiment.model_dump_json() + digest_of([vectors, data.labels])
    task = Task(f"sentiment {variant}", network, batches, batch_loss, sentiment.learning_rate, shaped_by)
    trained = train(task, settings, seed, _file(folder, task.stage), on_step)
    return SentimentHead(encoder.id, data.n_classes, variant, 1.0, network), trained


@dataclass(frozen=True)
class _TunedAlong:
    encoder: Encoder
    head: SentimentHead
    trained: Trained
    counted: Parameters


def _tune_along(
    encoder: Encoder,
    head: SentimentHead,
    data: Labelled,
    settings: config.FinetuneSettings,
    seed: int,
    folder: Path | None,
    on_step: OnStep | None,
) -> _TunedAlong:
    """A copy of the encoder, trained together with a copy of the head, with the loss of the head's variant."""
    sentiment = settings.sentiment
    variant: Any = head.variant
    encoder = replace(encoder, model=copy.deepcopy(encoder.model))
    network = copy.deepcopy(head.network).to(encoder.device)
    tokens, labels = encoder.tokenize(data.texts), torch.from_numpy(data.labels)
    lengths = np.array([len(ids) for ids in tokens], dtype=np.int64)
    rows, rng = data.rows(0), np.random.default_rng(seed)
    batches: list[np.ndarray] = []
    for _ in range(sentiment.encoder_epochs):
        order = epoch_rows(data.labels, rows, variant, rng)
        batches += [order[batch] for batch in length_bucketed(lengths[order], sentiment.encoder_batch_tokens, rng)]
    tuning = tune(encoder.model, settings, steps_of(len(batches), settings), seed)
    counted = tuning.parameters()
    loss = class_loss(variant, data.labels[rows], data.n_classes, sentiment.focal_gamma)

    def batch_loss(chosen: np.ndarray, _: np.random.Generator) -> Tensor:
        ids, mask = padded([tokens[row] for row in chosen], encoder.pad_id)
        with autocast(encoder.device, settings):
            pooled = encoder.pooled(ids.to(encoder.device), mask.to(encoder.device))
        logits = network(nn.functional.normalize(pooled[:, : encoder.dim], dim=1))
        return loss(logits, labels[chosen].to(encoder.device))

    both = nn.ModuleDict({"encoder": encoder.model, "head": network})
    shaped_by = sentiment.model_dump_json() + digest_of([*data.texts, data.labels])
    rate = learning_rate(sentiment.encoder_learning_rate, settings.mode)
    task = Task("sentiment encoder", both, batches, batch_loss, rate, shaped_by, tuning)
    with gradient_checkpointing(encoder.model, settings.gradient_checkpointing):
        trained = train(task, settings, seed, _file(folder, task.stage), on_step)
    tuning.merge()
    return _TunedAlong(encoder, replace(head, network=network), trained, counted)


def _with_words(heads: Sequence[SentimentHead], vectors: np.ndarray, data: Labelled, seed: int) -> SentimentHead:
    """One of the heads mixed with a word classifier: the combination with the highest calibrated likelihood of the
    validation classes; of equal ones that with the smallest share of the word classifier."""
    learned, judged = data.rows(0), data.rows(1)
    labels, texts = data.labels[judged], [data.texts[row] for row in judged]
    by_head = [head.logits(vectors[judged], texts) for head in heads]
    best: tuple[float, float, SentimentHead, WordClassifier | None] = (math.inf, 0.0, heads[0], None)
    for words in fit_words([data.texts[row] for row in learned], data.labels[learned], data.n_classes, seed):
        by_words = words.logits(texts)
        for share, (head, by_network) in product(WORDS_SHARES, zip(heads, by_head, strict=True)):
            loss = calibrated_loss((1.0 - share) * by_network + share * by_words, labels)
            best = min(best, (loss, share, head, words if share else None), key=itemgetter(0, 1))
    _, share, head, chosen = best
    return replace(head, words=chosen, words_share=share)


def _file(folder: Path | None, stage: str) -> Path | None:
    return None if folder is None else folder / f"{stage.replace(' ', '-')}.safetensors"


def _macro_f1(head: SentimentHead, vectors: np.ndarray, data: Labelled) -> float:
    rows = data.rows(1)
    return classification(softmax(_logits(head, vectors, data, rows)), data.labels[rows]).macro_f1


def _logits(head: SentimentHead, vectors: np.ndarray, data: Labelled, rows: np.ndarray) -> np.ndarray:
    return head.logits(vectors[rows], [data.texts[row] for row in rows])


def _evaluated(
    head: SentimentHead,
    encoder: Encoder,
    tuned: bool,
    validation: dict[str, float],
    vectors: np.ndarray,
    data: Labelled,
    settings: config.FinetuneSettings,
    trained: Trained,
    counted: Parameters,
) -> Sentiment:
    rows, learned = data.rows(2), data.labels[data.rows(0)]
    labels = data.labels[rows]
    logits = _logits(head, vectors, data, rows)
    test = classification(softmax(logits / head.temperature), labels, head.classes(logits))
    uncalibrated = classification(softmax(logits), labels).calibration_error
    shares = np.bincount(learned, minlength=data.n_classes) / len(learned)
    commonest = np.zeros((len(rows), data.n_classes))
    commonest[:, shares.argmax()] = 1.0
    majority = classification(commonest, labels)
    record = stage_record(
        "sentiment",
        settings.mode if tuned else "frozen",
        trained,
        counted,
        len(learned),
        {"accuracy": majority.accuracy, "macro_f1": majority.macro_f1},
        {"accuracy": test.accuracy, "macro_f1": test.macro_f1, "calibration_error": test.calibration_error},
        {
            "variant": head.variant,
            "words_share": head.words_share,
            "offsets": head.offsets,
            "temperature": head.temperature,
            "validation_macro_f1": validation,
            "uncalibrated_error": uncalibrated,
            "test": asdict(test),
        },
    )
    return Sentiment(head, encoder, tuned, validation, test, majority, record)
