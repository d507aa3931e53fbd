"""Processes that train one model together, started by Ray Train, and the reports of the first of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
import torch
from ray.exceptions import RayTaskError
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.util.queue import Queue

from jobs.cluster.ray_cluster import LOCAL, cluster_address, start_ray, this_node
from recsys.errors import RecsysError, StoreError

log = logging.getLogger(__name__)

START_TRIES: Final = 10
"""Ray Train waits a minute for its workers and then tries again, by itself without end."""

STOP_S: Final = 60.0
"""How long to wait for a trainer to stop before it is killed, in seconds."""


@dataclass(frozen=True)
class Crew:
    """The training processes: how many, the resources of each, and its threads."""

    scaling: ScalingConfig
    n_threads: int


def workers_to_use(requested: int) -> tuple[int, bool]:
    """How many processes train, and whether on GPUs. Connects to Ray only where a cluster runs already.

    requested: the setting, 0 for as many as there are GPUs."""
    if requested == 1:
        return 1, torch.cuda.is_available()
    if ray.is_initialized() or cluster_address() != LOCAL:
        start_ray()
        n_gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    else:
        n_gpus = torch.cuda.device_count()
    if n_gpus:
        return min(requested or n_gpus, n_gpus), True
    return max(requested, 1), False


def gather_crew(n_workers: int, on_gpus: bool) -> Crew:
    """Starts Ray where it does not run yet."""
    start_ray()
    n_cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    # A share of a processor, so that more workers than processors find a place, too.
    resources = {"CPU": min(1.0, n_cpus / n_workers)} | ({"GPU": 1.0} if on_gpus else {})
    scaling = ScalingConfig(num_workers=n_workers, use_gpu=on_gpus, resources_per_worker=resources)
    log.info("training_started workers=%d gpus=%s cpus=%d", n_workers, on_gpus, n_cpus)
    return Crew(scaling, max(1, n_cpus // n_workers))


def report_queue() -> Queue:
    """A queue for the reports of other processes; it lives on this machine, so the loss of another does not lose it.
    The caller shuts it down; for training, `run_workers` does."""
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": this_node()})


def run_workers(
    worker: Callable[[dict[str, Any]], None],
    work: object,
    crew: Crew,
    folder: Path,
    queue: Queue,
    on_report: Callable[[Any], None],
) -> None:
    """Runs `worker({"work": work})` in every process of the crew, and ends all of them, also after an error.

    folder: for Ray Train's own files, on a disk that all machines share. on_report: called in this process with what is
    put into `queue`; what it raises ends the training. A RecsysError of a worker is raised as it is.
    """
    # In a process of its own, TorchTrainer neither writes to this terminal nor takes over this process's Ctrl-C.
    trainer = ray.remote(num_cpus=0, max_retries=0)(_run_trainer).remote(worker, work, crew.scaling, folder)
    try:
        for report in reports(trainer, queue):
            on_report(report)
        ray.get(trainer)
    except RayTaskError as error:
        failures = error.cause.worker_failures.values() if isinstance(error.cause, WorkerGroupError) else ()
        cause = next((failure for failure in failures if isinstance(failure, RecsysError)), None)
        if cause is None:
            raise
        raise cause from None
    finally:
        # Ctrl-C for the trainer, where it still runs: it then gives back what its workers hold of the cluster, which
        # Ray would keep for them if it was killed.
        ray.cancel(trainer)
        if not ray.wait([trainer], timeout=STOP_S)[0]:
            ray.cancel(trainer, force=True)
        queue.shutdown(force=True)


def check_shared(folder: Path, setting: str) -> None:
    """Raises StoreError where this worker does not see the folder. setting: the one that asks for workers."""
    if not folder.is_dir():
        raise StoreError(
            f"{folder}: a training worker on another machine does not see this folder; keep the workspace on a "
            f"disk that all machines of the cluster share, or set {setting} = 1"
        )


def reports(task: ray.ObjectRef[Any], queue: Queue) -> Iterator[Any]:
    """What is put into `queue`, until the task has ended, well or not; then the queue is empty."""
    desk: Any = queue.actor
    result, end_queued = task.future(), False
    while True:
        heard = desk.get.remote().future()
        # Python's own waiting: what a handler of SIGTERM raises would leave ray.wait as another exit code.
        wait((heard, result), return_when=FIRST_COMPLETED)
        if result.done() and not end_queued:
            queue.put(None)  # behind all reports
            end_queued = True
        report = heard.result()
        if report is None:
            return
        yield report


def _run_trainer(worker: Callable[[dict[str, Any]], None], work: object, scaling: ScalingConfig, folder: Path) -> None:
    trainer = TorchTrainer(
        worker,
        train_loop_config={"work": work},
        scaling_config=scaling,
        run_config=RunConfig(
            name="ray",
            storage_path=str(folder),
            failure_config=FailureConfig(controller_failure_limit=START_TRIES),  # type: ignore[call-arg]
        ),
    )
    with suppress(SystemExit):  # its answer to Ctrl-C, which this process is to outlive
        trainer.fit()
