"""Trains the sequence model on every GPU of the cluster, or in this process where there is at most one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import ray
import torch
import torch.distributed
from ray.util.queue import Queue
from threadpoolctl import threadpool_limits

from jobs.cluster.training_workers import check_shared, gather_crew, report_queue, run_workers, workers_to_use
from recsys import config
from recsys.sequence import SequenceModel, Sequences, fit_sequence
from recsys.sequence.inputs import SequenceInputs
from recsys.sequence.training import Epoch

log = logging.getLogger(__name__)

Progress = Callable[[Epoch], None]


@dataclass(frozen=True)
class _Work:
    """What one worker needs. `inputs`: a reference to the SequenceInputs, but for the warm start, which is a file."""

    inputs: ray.ObjectRef[SequenceInputs]
    settings: config.SequenceSettings
    seed: int
    checkpoint: Path | None
    folder: Path
    queue: Queue
    n_threads: int

    @property
    def previous(self) -> Path:
        """The folder of the model to start from, where there is one."""
        return self.folder / "previous"

    @property
    def fitted(self) -> Path:
        """The folder of the model that came out."""
        return self.folder / "fitted"


def train_sequence(
    sequences: Sequences,
    text: np.ndarray | None,
    n_items: int,
    settings: config.SequenceSettings,
    seed: int,
    *,
    storage: Path,
    browsing_text: np.ndarray | None = None,
    validation: tuple[Sequences, np.ndarray] | None = None,
    checkpoint: Path | None = None,
    warm_start: SequenceModel | None = None,
    progress: Progress | None = None,
) -> SequenceModel:
    """The model of `fit_sequence`, fitted under Ray Train by one worker for each GPU, or by `settings.workers`.

    Without GPUs, with one in this machine, or with one worker asked for, it is fitted in this process and Ray is not
    started. storage: a folder for what passes between the processes; nothing stays in it. On a cluster of several
    machines, storage and checkpoint must be on a disk that all share. `progress` is called in this process, and what
    it raises ends the training. Raises as `fit_sequence` does, StoreError where a worker does not see the storage.
    """
    inputs = SequenceInputs(sequences, text, n_items, browsing_text, validation, warm_start)
    inputs.check()
    n_workers, on_gpus = workers_to_use(settings.workers)
    if n_workers == 1 and (torch.cuda.is_available() or not on_gpus):
        return _fit(inputs, settings, seed, checkpoint, progress)
    crew = gather_crew(n_workers, on_gpus)
    storage.mkdir(parents=True, exist_ok=True)

    def report_epoch(epoch: Epoch) -> None:
        log.info("sequence_epoch number=%d loss=%.4f ndcg=%s", epoch.number, epoch.loss, epoch.ndcg)
        if progress is not None:
            progress(epoch)

    with TemporaryDirectory(prefix="sequence-", dir=storage.resolve(), ignore_cleanup_errors=True) as folder:
        work = _Work(
            inputs=ray.put(replace(inputs, warm_start=None)),
            settings=settings,
            seed=seed,
            checkpoint=None if checkpoint is None else checkpoint.resolve(),  # workers have folders of their own
            folder=Path(folder),
            queue=report_queue(),
            n_threads=crew.n_threads,
        )
        if warm_start is not None:
            warm_start.save(work.previous)
        run_workers(_run_worker, work, crew, work.folder, work.queue, report_epoch)
        return SequenceModel.load(work.fitted)


def _fit(
    inputs: SequenceInputs,
    settings: config.SequenceSettings,
    seed: int,
    checkpoint: Path | None,
    progress: Progress | None,
) -> SequenceModel:
    return fit_sequence(
        inputs.sequences,
        inputs.text,
        inputs.n_items,
        settings,
        seed,
        browsing_text=inputs.browsing_text,
        validation=inputs.validation,
        checkpoint=checkpoint,
        warm_start=inputs.warm_start,
        progress=progress,
    )


def _run_worker(loop_config: dict[str, Any]) -> None:
    """One of the processes that fit together; Ray Train has made them torch.distributed's default group."""
    work: _Work = loop_config["work"]
    check_shared(work.folder, "sequence.workers")
    inputs = ray.get(work.inputs)
    if work.previous.is_dir():
        inputs = replace(inputs, warm_start=SequenceModel.load(work.previous))
    torch.set_num_threads(work.n_threads)
    with threadpool_limits(work.n_threads, user_api="blas"):
        model = _fit(inputs, work.settings, work.seed, work.checkpoint, work.queue.put)
    if torch.distributed.get_rank() == 0:
        model.save(work.fitted)
