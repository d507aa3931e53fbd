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

from recsys import config, parallel
from recsys.errors import StoreError
from recsys.hardware import compute_device, compute_dtype
from recsys.sequence.checkpoint import Progress, Run, fingerprint, resume_run, save_run
from recsys.sequence.histories import Sequences, epoch_windows, length_bucketed, padded
from recsys.sequence.inputs import SequenceInputs
from recsys.sequence.model import SequenceModel, model_of
from recsys.sequence.network import Network, Shape
from recsys.sequence.parallel import sum_gradients
from recsys.sequence.prediction import TrainingData, prediction_loss, training_data
from recsys.sequence.validation import judged_histories, validation_ndcg

log = logging.getLogger(__name__)

WARM_UP_STEPS = 100
GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Epoch:
    """What pass `number` of at most `of` achieved. ndcg: NDCG@10 on the validation targets; None without any."""

    number: int
    of: int
    loss: float
    ndcg: float | None


def fit_sequence(
    sequences: Sequences,
    text: np.ndarray | None,
    n_items: int,
    settings: config.SequenceSettings,
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
    are taken over, and where all do, `settings.warm_epochs` are enough. Equal input gives equal weights on one CPU.

    Where torch.distributed is initialised, each of its processes calls this with equal input: they fit one model, in
    steps of one batch for each, and all return it. The first alone measures, writes the checkpoint and calls
    `progress`; all read the checkpoint, and their number may have changed since it was written.

    Raises DataError where arrays do not fit together, StoreError where not every process can read the checkpoint.
    """
    inputs = SequenceInputs(sequences, text, n_items, browsing_text, validation, warm_start)
    inputs.check()
    device = compute_device()
    data = training_data(sequences, text, browsing_text, n_items, settings, device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        run = _new_run(Network(Shape.of(n_items, inputs.text_dim, settings)).to(device), settings, warm_start)
        identity = "" if checkpoint is None else _resumed(run, checkpoint, inputs, settings, seed)
        judged = judged_histories(validation, settings.max_validation_users, seed)
        while _goes_on(run, settings) and len(data.starts):
            epoch = _one_epoch(run, data, settings, seed, judged, browsing_text)
            if checkpoint is not None and parallel.rank() == 0:
                save_run(run, checkpoint, identity)
            if progress is not None and parallel.rank() == 0:
                progress(epoch)
    run.network.load_state_dict(run.best)
    return model_of(run.network, data.item_text, data.id_weights(settings.id_prior), run.progress.best_epoch)


def _resumed(run: Run, checkpoint: Path, inputs: SequenceInputs, settings: config.SequenceSettings, seed: int) -> str:
    """Takes up the run of the checkpoint where it is of the same inputs, settings and seed; the identity of these.

    Raises StoreError where not every process can read the checkpoint.
    """
    # The number of processes may change between runs, so the identity leaves it out.
    identity = fingerprint(settings.model_dump_json(exclude={"workers"}), seed, inputs.arrays())
    resume_run(run, checkpoint, identity)
    if not parallel.agreed(run.progress.epochs_done, run.network.ids.weight.device):
        raise StoreError(
            f"{checkpoint}: not every training process can read this checkpoint; keep it on a disk that all "
            "machines of the cluster share, or delete it"
        )
    return identity


def _new_run(network: Network, settings: config.SequenceSettings, warm_start: SequenceModel | None) -> Run:
    warm = warm_start is not None and _take_over(network, warm_start)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    epochs = min(settings.warm_epochs, settings.epochs) if warm else settings.epochs
    last = min(settings.stop_after or epochs, epochs)
    return Run(network, optimizer, epochs, last, _copy(network), Progress())


def _take_over(network: Network, previous: SequenceModel) -> bool:
    """Weights of the previous model wherever the shape is still the same. Whether that is everywhere."""
    current = network.state_dict()
    old = previous.network.state_dict()
    fitting = {name: value for name, value in old.items() if name in current and current[name].shape == value.shape}
    network.load_state_dict({**current, **fitting})
    log.info("sequence warm start weights=%d of %d", len(fitting), len(current))
    return len(fitting) == len(current)


def _copy(network: Network) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _goes_on(run: Run, settings: config.SequenceSettings) -> bool:
    return run.progress.epochs_done < run.last and run.progress.worse < settings.patience


def _one_epoch(
    run: Run,
    data: TrainingData,
    settings: config.SequenceSettings,
    seed: int,
    judged: tuple[Sequences, np.ndarray] | None,
    browsing_text: np.ndarray | None,
) -> Epoch:
    """Trains one epoch, measures it, and keeps its weights where they are the best."""
    number, device = run.progress.epochs_done, run.network.ids.weight.device
    rng = np.random.default_rng((seed, number))  # an epoch's draws are its own: a resumed run makes the same
    # `rng` draws alike in all processes; what torch draws, the dropout, is each one's own.
    torch.manual_seed(int(rng.integers(2**62)) + parallel.rank())
    loss = _train(run, data, settings, rng)
    reached = None
    if judged is not None:
        measured = 0.0
        if parallel.rank() == 0:
            model = model_of(run.network, data.item_text, data.id_weights(settings.id_prior), number + 1)
            measured = validation_ndcg(model, judged[0], judged[1], browsing_text)
        reached = parallel.from_first(measured, device)
    if reached is None or reached > run.progress.best_ndcg:
        run.best = _copy(run.network)
        run.progress = Progress(number + 1, -1.0 if reached is None else reached, 0)
    else:
        run.progress = replace(run.progress, epochs_done=number + 1, worse=run.progress.worse + 1)
    log.info("sequence epoch=%d loss=%.4f ndcg=%s", number + 1, loss, reached)
    return Epoch(number + 1, run.last, loss, reached)


def _train(run: Run, data: TrainingData, settings: config.SequenceSettings, rng: np.random.Generator) -> float:
    """One pass over the data, a step for every `parallel.world_size()` batches; the mean loss of its steps."""
    network, device = run.network.train(), run.network.ids.weight.device
    dtype = compute_dtype(settings.precision, device)
    windows = epoch_windows(data.lengths, settings.max_epoch_events, rng)
    batches = [windows[rows] for rows in length_bucketed(data.lengths[windows], settings.batch_events, rng)]
    together = parallel.world_size()
    n_steps = -(-len(batches) // together)
    losses = []
    id_gradient = torch.zeros_like(network.ids.weight)  # (n_items, dim), one for all steps
    for number in range(n_steps):
        step = run.progress.epochs_done * n_steps + number
        for group in run.optimizer.param_groups:
            group["lr"] = settings.learning_rate * _pace(step, run.epochs * n_steps)
        of_step = batches[number * together : (number + 1) * together]
        run.optimizer.zero_grad()
        network.ids.weight.grad = id_gradient.zero_()
        losses.append(0.0)
        if parallel.rank() < len(of_step):  # the last step may have no batch for some
            rows = of_step[parallel.rank()]
            batch = padded(data.sequences, data.starts[rows], data.lengths[rows])
            with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                loss = prediction_loss(network, data, batch, settings, rng)
            # Every entry of a window has a target: the sum over the processes is the mean over all targets.
            loss = loss * float(data.lengths[rows].sum() / sum(data.lengths[other].sum() for other in of_step))
            torch.autograd.backward(loss)
            losses[-1] = float(loss.detach())
        sum_gradients(network)
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        run.optimizer.step()
    return float(parallel.summed(losses, device).mean())


def _pace(step: int, n_steps: int) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine down to zero."""
    warm_up = min(WARM_UP_STEPS, max(n_steps // 10, 1))
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))
