"""Runs the steps of a nightly run as tasks of the cluster that `RAY_ADDRESS` names.

The main process starts one step after the other and receives their reports; the data of a step is in the memory of the
task's process only. Results are on a disk that all machines share.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from logging.handlers import QueueHandler
from pathlib import Path
from shutil import rmtree
from socket import gethostname
from typing import Any, Final

import ray
import torch
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayTaskError, WorkerCrashedError
from ray.util.queue import Queue
from threadpoolctl import threadpool_limits

from features.workspace.atomic_files import sync_tree
from jobs.cluster.ray_cluster import start_ray, this_node
from jobs.cluster.training_workers import report_queue, reports
from jobs.nightly.context import NightlyRun
from jobs.nightly.step_cache import Step, StepOutputWriter, versions
from recsys import config
from recsys.errors import ClusterError, RecsysError, StoreError
from recsys.hardware import forget_peak_memory, peak_memory_mb

log = logging.getLogger(__name__)

Make = Callable[[NightlyRun, StepOutputWriter], Mapping[str, int]]

TRIES: Final = 3
"""Attempts of a step whose machine or process is lost."""

STOP_S: Final = 10.0
"""How long to wait for a step to stop, in seconds: half of what a command has itself after SIGTERM."""

TRAINS: Final = frozenset({"learn", "evaluate", "fit"})
"""Steps that fit a sequence model."""

READS_OUTSIDE: Final = frozenset({"ingest"})
"""Steps that read data outside the workspace: a shop's files are on the machine where the command runs, and so is an
SQLite database, which only processes of one machine may share."""

_LOST: Final = (WorkerCrashedError, NodeDiedError, OutOfMemoryError, ObjectLostError)
_PACKAGES: Final = ("recsys", "features", "jobs")


@contextmanager
def on_cluster(steps: Iterable[Step[NightlyRun]]) -> Iterator[list[Step[NightlyRun]]]:
    """The steps, each run by a task of the cluster. Every `make` must be importable on all machines.

    Log records, progress, `run.messages` and peak memory of a step are sent to this process, and its exceptions are
    raised here. A step starts again where its machine or process was lost. Raises ClusterError where that happened too
    often or a machine runs other code, StoreError where a machine cannot read the workspace.
    """
    start_ray()
    queue = report_queue()
    try:
        yield [replace(step, make=partial(_make, queue, step.name, step.make)) for step in steps]
    finally:
        queue.shutdown(force=True)


@dataclass(frozen=True)
class _Progress:
    what: str
    done: int
    total: int | None


@dataclass(frozen=True)
class _Ended:
    """What the step reports at its end, whether it succeeds or not. messages: lines for `run.messages`."""

    messages: list[str]
    peak_mb: float


def _make(queue: Queue, name: str, make: Make, run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    for number in range(1, TRIES + 1):
        try:
            return _try(queue, name, make, run, draft)
        except _LOST as error:
            reason = " ".join(str(error).split())
            log.warning("step_lost step=%s attempt=%d of=%d reason=%s", name, number, TRIES, reason)
            rmtree(draft.folder)
            draft.folder.mkdir()
    raise ClusterError(
        f"step {name}: its machine or process was lost {TRIES} times (see the log); give its node more memory or "
        "set nightly.step_memory_gb, then run `recsys nightly --resume`"
    )


def _try(queue: Queue, name: str, make: Make, run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    plain = replace(run, progress=partial(_report_progress, queue))  # the fields without the cached properties
    requested_threads = os.environ.get("OMP_NUM_THREADS", "")
    task = _task(name, run).remote(queue, name, make, plain, draft, Path.cwd(), requested_threads)
    try:
        for report in reports(task, queue):
            _handle(run, report)
        counts: Mapping[str, int] = ray.get(task)
        return counts
    except RayTaskError as error:
        if isinstance(error.cause, RecsysError):
            raise error.cause from None
        raise error.cause from error  # which has the traceback of the other process
    finally:
        _stop(task)


def _task(name: str, run: NightlyRun) -> Any:
    """The remote function. It reserves no CPU in Ray, since the tasks that it starts itself need them.

    On nodes with GPUs each step has a new process: one that has looked for GPUs before does not see those of its next
    task, and one that has used a GPU keeps some of its memory. Elsewhere the process is reused, which saves the seconds
    to import libraries.
    """
    here = this_node()
    stays = name in READS_OUTSIDE or bool(run.workspace.url)  # only this machine has the local copy of object storage
    alive: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    nodes = [node["Resources"] for node in alive if not stays or node["NodeID"] == here.node_id]
    options: dict[str, Any] = resources(name, run.settings, nodes)
    if stays:
        options["scheduling_strategy"] = here
    if any(node.get("GPU") for node in nodes):
        options["max_calls"] = 1
    return ray.remote(num_cpus=0, max_retries=0, **options)(_run)


def resources(name: str, settings: config.Settings, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What the step reserves beside CPUs, as options of a Ray task. nodes: the resources of the nodes where it may run.

    One GPU where the sequence model is trained in the step's own process, and one of these nodes has one.
    """
    memory = 0.0 if name in READS_OUTSIDE else settings.nightly.step_memory_gb * 2**30
    large = [node for node in nodes if node.get("memory", 0) >= memory]
    if not large:
        largest = max((node.get("memory", 0) for node in nodes), default=0) / 2**30
        log.warning(
            "step_waiting_for_memory step=%s needs_gb=%.1f largest_node_gb=%.1f setting=nightly.step_memory_gb",
            *(name, settings.nightly.step_memory_gb, largest),
        )
    taken = {"memory": memory} if memory else {}
    trains_itself = name in TRAINS and settings.sequence.workers == 1
    return taken | ({"num_gpus": 1.0} if trains_itself and any(node.get("GPU", 0) >= 1 for node in large) else {})


def _handle(run: NightlyRun, report: object) -> None:
    match report:
        case _Progress(what, done, total):
            run.progress(what, done, total)
        case logging.LogRecord():
            logger = logging.getLogger(report.name)
            if logger.isEnabledFor(report.levelno):
                logger.handle(report)
        case _Ended(messages, peak_mb):
            run.messages += messages
            run.peak_mb = peak_mb


def _stop(task: ray.ObjectRef[Any]) -> None:
    """Stop it if it still runs: first with Ctrl-C, so that it stops its own tasks, then by force."""
    ray.cancel(task)
    if not ray.wait([task], timeout=STOP_S)[0]:
        ray.cancel(task, force=True)
        ray.wait([task], timeout=STOP_S / 2)


def _run(
    queue: Queue,
    name: str,
    make: Make,
    run: NightlyRun,
    draft: StepOutputWriter,
    folder: Path,
    requested_threads: str,
) -> Mapping[str, int]:
    """The step, in the process of a task. folder: working directory of the main process, for relative paths."""
    forget_peak_memory()
    n_messages, n_threads = len(run.messages), _n_threads(requested_threads)
    with ExitStack() as stack:
        if folder.is_dir():
            stack.enter_context(chdir(folder))
        _check_machine(name, run, draft)
        stack.enter_context(_logged_to(queue))
        torch.set_num_threads(n_threads)
        stack.enter_context(threadpool_limits(n_threads))
        log.info("step_started step=%s host=%s pid=%d threads=%d", name, gethostname(), os.getpid(), n_threads)
        try:
            counts = dict(make(run, draft))
            sync_tree(draft.folder)  # so that other machines see it
            return counts
        finally:
            queue.put(_Ended(run.messages[n_messages:], peak_memory_mb()))


def _check_machine(name: str, run: NightlyRun, draft: StepOutputWriter) -> None:
    if not draft.folder.is_dir():
        raise StoreError(
            f"{run.workspace.root}: {gethostname()}, which runs the step {name}, cannot read this folder; put the "
            "workspace on a disk that all machines of the cluster share, or at s3://, or unset RAY_ADDRESS"
        )
    if differing := [what for what, value in versions().items() if draft.inputs.get(what) != value]:
        raise ClusterError(
            f"step {name}: {gethostname()} has another version of {', '.join(differing)} than the main process; use "
            "the same image on all machines of the cluster"
        )


def _n_threads(requested: str) -> int:
    """`OMP_NUM_THREADS` of the main process, else the CPUs of the node. Ray gives one thread to a task that reserves no
    CPU."""
    if requested.isdigit():
        return max(1, int(requested))
    node_id = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    n_cpus = next((node["Resources"].get("CPU", 0) for node in nodes if node["NodeID"] == node_id), 0)
    return int(n_cpus) or os.cpu_count() or 1


def _report_progress(queue: Queue, what: str, done: int, total: int | None) -> None:
    queue.put(_Progress(what, done, total))


@contextmanager
def _logged_to(queue: Queue) -> Iterator[None]:
    """Send the log records of this project's code to the main process, which handles them as its own."""
    handler = QueueHandler(queue)
    loggers = [logging.getLogger(package) for package in _PACKAGES]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
