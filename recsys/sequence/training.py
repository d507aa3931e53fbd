"""Fitting the sequence model: next-item prediction at every position of every history."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recsys import config
from recsys.errors import DataError
from recsys.hardware import compute_device, compute_dtype
from recsys.metrics import ndcg, target_ranks
from recsys.sequence.checkpoint import Progress, Run, fingerprint, resume_run, save_run
from recsys.sequence.histories import Sequences, length_bucketed, padded
from recsys.sequence.model import SequenceModel, model_of
from recsys.sequence.network import Network, Shape
from recsys.sequence.prediction import TrainingData, prediction_loss, training_data

log = logging.getLogger(__name__)

WARM_UP_STEPS = 100
GRADIENT_NORM = 1.0
BLOCK_USERS = 256


@dataclass(frozen=True)
class Epoch:
    """What one pass achieved. `ndcg`: NDCG@10 on the validation targets; None where there are none."""

    number: int
    loss: float
    ndcg: float | None


def fit_sequence(
    sequences: Sequences,
    text: np.ndarray | None,
    n_items: int,
    settings: config.Sequence,
    seed: int,
    *,
    browsing_text: np.ndarray | None = None,
    validation: tuple[Sequences, np.ndarray] | None = None,
    checkpoint: Path | None = None,
    warm_start: SequenceModel | None = None,
    progress: Callable[[Epoch], None] | None = None,
) -> SequenceModel:
    """The model of the best epoch on `validation`, or of the last one without it.

    text: (n_items, text_dim) whitened, zero rows for items without text, or None; browsing_text: (n_texts, text_dim)
    in the same space. sequences: every item entry is learned to follow what stands before it, so entries that are no
    success (impressions) should be left out. validation: histories and the item row that followed each, (n,), -1
    where none did. checkpoint: a file that is written after each epoch and, where it is of the same data, settings
    and seed, taken up. warm_start: a model over the same items (`SequenceModel.renumbered`); weights that still fit
    are taken over. Equal input gives equal weights on one CPU. Raises DataError where arrays do not fit together.
    """
    _check(sequences, text, n_items, browsing_text, validation, warm_start)
    device = compute_device()
    data = training_data(sequences, text, browsing_text, n_items, settings, device)
    known = next((array for array in (text, browsing_text) if array is not None), None)
    shape = Shape.of(n_items, 0 if known is None else known.shape[1], settings)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = Network(shape).to(device)
        if warm_start is not None:
            _take_over(network, warm_start)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        run = Run(network, optimizer, _copy(network), Progress())
        identity = ""
        if checkpoint is not None:
            arrays = _arrays(sequences, text, browsing_text, validation, warm_start)
            identity = fingerprint(settings.model_dump_json(), seed, arrays)
            resume_run(run, checkpoint, identity)
        judged = _judged(validation, settings.max_validation_users, seed)
        while _goes_on(run.progress, settings) and len(data.starts):
            epoch = _one_epoch(run, data, settings, seed, judged, browsing_text)
            if checkpoint is not None:
                save_run(run, checkpoint, identity)
            if progress is not None:
                progress(epoch)
    network.load_state_dict(run.best)
    return model_of(network, data.item_text, data.has_id)


def _check(
    sequences: Sequences,
    text: np.ndarray | None,
    n_items: int,
    browsing_text: np.ndarray | None,
    validation: tuple[Sequences, np.ndarray] | None,
    warm_start: SequenceModel | None,
) -> None:
    n_texts = 0 if browsing_text is None else len(browsing_text)
    sequences.check(n_items, n_texts)
    if validation is not None:
        validation[0].check(n_items, n_texts)
        if len(validation[0]) != len(validation[1]):
            raise DataError(
                f"sequence model: {len(validation[0])} validation histories, but {len(validation[1])} targets; give "
                "one target a history"
            )
        wrong = validation[1][(validation[1] < -1) | (validation[1] >= n_items)]
        if len(wrong):
            raise DataError(
                f"sequence model: {len(wrong)} validation targets, for example {wrong[0]}, are none of {n_items} "
                "items; use -1 where there is no target"
            )
    if text is not None and len(text) != n_items:
        raise DataError(f"sequence model: {len(text)} text vectors for {n_items} items; give one an item")
    if text is not None and browsing_text is not None and text.shape[1] != browsing_text.shape[1]:
        raise DataError(
            f"sequence model: items' texts have {text.shape[1]} dimensions, browsing texts {browsing_text.shape[1]}; "
            "whiten both alike"
        )
    if warm_start is not None and len(warm_start.item_vectors) != n_items:
        raise DataError(
            f"sequence model: the previous model has {len(warm_start.item_vectors)} items, not {n_items}; renumber it"
        )


def _arrays(
    sequences: Sequences,
    text: np.ndarray | None,
    browsing_text: np.ndarray | None,
    validation: tuple[Sequences, np.ndarray] | None,
    warm_start: SequenceModel | None,
) -> list[np.ndarray]:
    """All arrays that a run depends on, None as an empty one so that they cannot change places."""
    given = [text, browsing_text, None if warm_start is None else warm_start.item_vectors]
    arrays = [np.empty(0) if array is None else array for array in given]
    for histories in [sequences, *([] if validation is None else [validation[0]])]:
        arrays += [histories.indptr, histories.item_rows, histories.event_types, histories.timestamps]
        arrays += [histories.text_rows]
    return arrays + ([] if validation is None else [validation[1]])


def _take_over(network: Network, previous: SequenceModel) -> None:
    """Weights of the previous model wherever the shape is still the same."""
    own = network.state_dict()
    old = previous.network.state_dict()
    fitting = {name: value for name, value in old.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict({**own, **fitting})
    log.info("sequence warm start weights=%d of %d", len(fitting), len(own))


def _copy(network: Network) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _goes_on(progress: Progress, settings: config.Sequence) -> bool:
    return progress.epochs_done < settings.epochs and progress.worse < settings.patience


def _one_epoch(
    run: Run,
    data: TrainingData,
    settings: config.Sequence,
    seed: int,
    judged: tuple[Sequences, np.ndarray] | None,
    browsing_text: np.ndarray | None,
) -> Epoch:
    """Trains one epoch, measures it, and keeps its weights where they are the best."""
    number = run.progress.epochs_done
    rng = np.random.default_rng((seed, number))  # an epoch's draws are its own: a resumed run makes the same
    torch.manual_seed(int(rng.integers(2**62)))
    loss = _train(run, data, settings, rng)
    reached = None
    if judged is not None:
        model = model_of(run.network, data.item_text, data.has_id)
        reached = validation_ndcg(model, judged[0], judged[1], browsing_text)
    if reached is None or reached > run.progress.best_ndcg:
        run.best = _copy(run.network)
        run.progress = Progress(number + 1, -1.0 if reached is None else reached, 0)
    else:
        run.progress = replace(run.progress, epochs_done=number + 1, worse=run.progress.worse + 1)
    log.info("sequence epoch=%d loss=%.4f ndcg=%s", number + 1, loss, reached)
    return Epoch(number + 1, loss, reached)


def _train(run: Run, data: TrainingData, settings: config.Sequence, rng: np.random.Generator) -> float:
    """One pass over the data; the mean loss of its steps."""
    network, device = run.network.train(), run.network.ids.weight.device
    dtype = compute_dtype(settings.precision, device)
    batches = list(length_bucketed(data.lengths, settings.batch_events, rng))
    losses = []
    for number, rows in enumerate(batches):
        step = run.progress.epochs_done * len(batches) + number
        for group in run.optimizer.param_groups:
            group["lr"] = settings.learning_rate * _pace(step, settings.epochs * len(batches))
        batch = padded(data.sequences, data.starts[rows], data.lengths[rows])
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            loss = prediction_loss(network, data, batch, settings, rng)
        run.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        run.optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def _pace(step: int, n_steps: int) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine down to zero."""
    warm_up = min(WARM_UP_STEPS, max(n_steps // 10, 1))
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))


def _judged(
    validation: tuple[Sequences, np.ndarray] | None, max_users: int, seed: int
) -> tuple[Sequences, np.ndarray] | None:
    """At most `max_users` validation histories that have a target; None where there is none."""
    if validation is None:
        return None
    rows = np.flatnonzero((validation[1] >= 0) & (np.diff(validation[0].indptr) > 0))
    if len(rows) > max_users:
        rows = np.sort(np.random.default_rng(seed).choice(rows, max_users, replace=False))
    return (validation[0].take(rows), validation[1][rows]) if len(rows) else None


def validation_ndcg(
    model: SequenceModel, histories: Sequences, targets: np.ndarray, browsing_text: np.ndarray | None
) -> float:
    """Mean NDCG@10 of one target a history over all items, those of the history left out."""
    queries = model.query_vectors(histories, browsing_text)
    found = []
    for start in range(0, len(histories), BLOCK_USERS):
        block = slice(start, min(start + BLOCK_USERS, len(histories)))
        scores = queries[block] @ model.item_vectors.T
        own = scores[np.arange(len(scores)), targets[block]]
        entries = slice(histories.indptr[block.start], histories.indptr[block.stop])
        users = np.repeat(np.arange(len(scores)), np.diff(histories.indptr[block.start : block.stop + 1]))
        items = histories.item_rows[entries]
        scores[users[items >= 0], items[items >= 0]] = -np.inf
        scores[np.arange(len(scores)), targets[block]] = own  # a repeat is judged like any other choice
        found.append(ndcg(target_ranks(scores, targets[block]), 10))
    return float(np.concatenate(found).mean())
