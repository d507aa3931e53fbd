"""Training the sequence model on every GPU of the cluster, or in this process where one is all there is."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import ray
import torch
import torch.distributed
from ray.exceptions import RayTaskError
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.util.queue import Queue
from threadpoolctl import threadpool_limits

from jobs.cluster import start_ray
from recsys import config
from recsys.errors import RecsysError, StoreError
from recsys.sequence import SequenceModel, Sequences, fit_sequence
from recsys.sequence.inputs import SequenceInputs
from recsys.sequence.training import Epoch

log = logging.getLogger(__name__)

START_TRIES: Final = 10
"""Ray Train waits a minute for its workers and then tries again, by itself without end."""

STOP_S: Final = 60.0
"""Patience with a trainer that was told to stop, in seconds."""

Progress = Callable[[Epoch], None]


@dataclass(frozen=True)
class _Work:
    """What one worker needs. `inputs`: a reference to the SequenceInputs, but for the warm start, which is a file."""

    inputs: ray.ObjectRef[SequenceInputs]
    settings: config.Sequence
    seed: int
    checkpoint: Path | None
    folder: Path
    told: Queue
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
    settings: config.Sequence,
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
    start_ray()
    storage.mkdir(parents=True, exist_ok=True)
    n_cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    # A share of a processor, so that more workers than processors find a place, too.
    resources = {"CPU": min(1.0, n_cpus / n_workers)} | ({"GPU": 1.0} if on_gpus else {})
    scaling = ScalingConfig(num_workers=n_workers, use_gpu=on_gpus, resources_per_worker=resources)
    log.info("sequence training workers=%d gpus=%s cpus=%d", n_workers, on_gpus, n_cpus)
    with TemporaryDirectory(prefix="sequence-", dir=storage.resolve(), ignore_cleanup_errors=True) as folder:
        work = _Work(
            inputs=ray.put(replace(inputs, warm_start=None)),
            settings=settings,
            seed=seed,
            checkpoint=None if checkpoint is None else checkpoint.resolve(),  # workers have folders of their own
            folder=Path(folder),
            told=Queue(actor_options={"num_cpus": 0}),
            n_threads=max(1, n_cpus // n_workers),
        )
        if warm_start is not None:
            warm_start.save(work.previous)
        _train_on_ray(work, scaling, progress)
        return SequenceModel.load(work.fitted)


def workers_to_use(asked: int) -> tuple[int, bool]:
    """How many processes are to train, and whether on GPUs. Starts Ray only to ask a cluster that runs already."""
    if asked == 1:
        return 1, torch.cuda.is_available()
    if ray.is_initialized() or os.environ.get("RAY_ADDRESS", "local") != "local":
        start_ray()
        n_gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    else:
        n_gpus = torch.cuda.device_count()
    if n_gpus:
        return min(asked or n_gpus, n_gpus), True
    return max(asked, 1), False


def _fit(
    inputs: SequenceInputs, settings: config.Sequence, seed: int, checkpoint: Path | None, progress: Progress | None
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


def _train_on_ray(work: _Work, scaling: ScalingConfig, progress: Progress | None) -> None:
    """Leaves the fitted model in `work.fitted`, and no worker behind, however it ends."""
    # In a process of its own, TorchTrainer neither writes to this terminal nor takes over this process's Ctrl-C.
    trainer = ray.remote(num_cpus=0, max_retries=0)(_run_trainer).remote(work, scaling)
    try:
        for epoch in _epochs(trainer, work.told):
            log.info("sequence epoch=%d loss=%.4f ndcg=%s", epoch.number, epoch.loss, epoch.ndcg)
            if progress is not None:
                progress(epoch)
        ray.get(trainer)
    except RayTaskError as error:
        failures = error.cause.worker_failures.values() if isinstance(error.cause, WorkerGroupError) else ()
        mendable = next((failure for failure in failures if isinstance(failure, RecsysError)), None)
        if mendable is None:
            raise
        raise mendable from None
    finally:
        # Ctrl-C for the trainer, where it still runs: it then gives back what its workers hold of the cluster, which
        # Ray would keep for them if it was killed.
        ray.cancel(trainer)
        if not ray.wait([trainer], timeout=STOP_S)[0]:
            ray.cancel(trainer, force=True)
        work.told.shutdown(force=True)


def _epochs(trainer: ray.ObjectRef[None], told: Queue) -> Iterator[Epoch]:
    """Epochs as the first worker reports them, until the trainer has ended."""
    desk: Any = told.actor
    while True:
        heard = desk.get.remote()
        ended, _ = ray.wait([heard, trainer])
        if ended == [trainer]:
            told.put(None)  # behind all epochs
        epoch = ray.get(heard)
        if epoch is None:
            return
        yield epoch


def _run_trainer(work: _Work, scaling: ScalingConfig) -> None:
    trainer = TorchTrainer(
        _run_worker,
        train_loop_config={"work": work},
        scaling_config=scaling,
        run_config=RunConfig(
            name="ray",
            storage_path=str(work.folder),
            failure_config=FailureConfig(controller_failure_limit=START_TRIES),  # type: ignore[call-arg]
        ),
    )
    with suppress(SystemExit):  # its answer to Ctrl-C, which this process is to outlive
        trainer.fit()


def _run_worker(loop_config: dict[str, Any]) -> None:
    """One of the processes that fit together; Ray Train has made them torch.distributed's default group."""
    work: _Work = loop_config["work"]
    if not work.folder.is_dir():
        raise StoreError(
            f"{work.folder}: a training worker on another machine does not see this folder; keep the workspace on a "
            "disk that all machines of the cluster share, or set sequence.workers = 1"
        )
    inputs = ray.get(work.inputs)
    if work.previous.is_dir():
        inputs = replace(inputs, warm_start=SequenceModel.load(work.previous))
    torch.set_num_threads(work.n_threads)
    with threadpool_limits(work.n_threads, user_api="blas"):
        model = _fit(inputs, work.settings, work.seed, work.checkpoint, work.told.put)
    if torch.distributed.get_rank() == 0:
        model.save(work.fitted)
