"""The steps of a night as tasks of the cluster that `RAY_ADDRESS` names.

The process that runs the night starts one after the other and hears of them; what a step reads, and learns from it,
is in the memory of the task's process alone. What they make lies on a disk that all machines share.
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
from jobs.cluster.training_workers import reports, told_queue
from jobs.nightly.context import NightlyRun
from jobs.nightly.step_cache import Step, StepOutputWriter, versions
from recsys import config
from recsys.errors import ClusterError, RecsysError, StoreError
from recsys.hardware import forget_peak_memory, peak_memory_mb

log = logging.getLogger(__name__)

Make = Callable[[NightlyRun, StepOutputWriter], Mapping[str, int]]

TRIES: Final = 3
"""Of a step whose machine or process is lost."""

STOP_S: Final = 10.0
"""Patience with a step that was told to stop, in seconds: half of what a command has itself after SIGTERM."""

TRAINS: Final = frozenset({"learn", "evaluate", "fit"})
"""Steps that fit a sequence model."""

READS_OUTSIDE: Final = frozenset({"ingest"})
"""Steps that read what lies outside the workspace: a shop's files are where the command that ingests them runs, and so
is SQLite's database, which only processes of one machine may share."""

_LOST: Final = (WorkerCrashedError, NodeDiedError, OutOfMemoryError, ObjectLostError)
_PACKAGES: Final = ("recsys", "features", "jobs")


@contextmanager
def on_cluster(steps: Iterable[Step[NightlyRun]]) -> Iterator[list[Step[NightlyRun]]]:
    """The steps, each made by a task of the cluster. Every `make` is found by its name in the code of all machines.

    What a step logs and tells of its progress, the lines in `night.told` and its peak memory arrive in this process,
    and what it raises is raised here. It is made again, from the start, where its machine or process was lost. Raises
    ClusterError where that happened too often or the machine runs other code, StoreError where it does not see the
    workspace.
    """
    start_ray()
    told = told_queue()
    try:
        yield [replace(step, make=partial(_make, told, step.name, step.make)) for step in steps]
    finally:
        told.shutdown(force=True)


@dataclass(frozen=True)
class _Progress:
    what: str
    done: int
    total: int | None


@dataclass(frozen=True)
class _Ended:
    """What the step leaves beside its result, whether it succeeds or not. told: lines for `night.told`."""

    told: list[str]
    peak_mb: float


def _make(told: Queue, name: str, make: Make, night: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    for number in range(1, TRIES + 1):
        try:
            return _try(told, name, make, night, draft)
        except _LOST as error:
            reason = " ".join(str(error).split())
            log.warning("step lost step=%s try=%d of=%d reason=%s", name, number, TRIES, reason)
            rmtree(draft.folder)
            draft.folder.mkdir()
    raise ClusterError(
        f"step {name}: its machine or process was lost {TRIES} times (the log says how); give its node more memory or "
        "set nightly.step_memory_gb, then run `recsys nightly --resume`"
    )


def _try(told: Queue, name: str, make: Make, night: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    plain = replace(night, progress=partial(_tell_progress, told))  # the fields alone: not what was read for it
    asked_threads = os.environ.get("OMP_NUM_THREADS", "")
    task = _task(name, night).remote(told, name, make, plain, draft, Path.cwd(), asked_threads)
    try:
        for report in reports(task, told):
            _hear(night, report)
        counts: Mapping[str, int] = ray.get(task)
        return counts
    except RayTaskError as error:
        if isinstance(error.cause, RecsysError):
            raise error.cause from None
        raise error.cause from error  # which has the traceback of the other process
    finally:
        _stop(task)


def _task(name: str, night: NightlyRun) -> Any:
    """The remote function. It takes no processor of Ray's books, as the tasks that it starts itself need them.

    Among GPUs its process is its own: one that has looked for them before sees those of its next task no more, and one
    that has used one keeps some of its memory. Elsewhere the next step saves the seconds in which libraries load.
    """
    here = this_node()
    stays = name in READS_OUTSIDE or bool(night.workspace.url)  # of object storage, the copy is on this machine alone
    alive: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    nodes = [node["Resources"] for node in alive if not stays or node["NodeID"] == here.node_id]
    options: dict[str, Any] = resources(name, night.settings, nodes)
    if stays:
        options["scheduling_strategy"] = here
    if any(node.get("GPU") for node in nodes):
        options["max_calls"] = 1
    return ray.remote(num_cpus=0, max_retries=0, **options)(_run)


def resources(name: str, settings: config.Settings, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What the step takes of a node beside processors, as options of a Ray task. nodes: what those where it may run
    have, in Ray's books.

    A GPU where the sequence model is trained in the step's own process, and one of these nodes has one.
    """
    memory = 0.0 if name in READS_OUTSIDE else settings.nightly.step_memory_gb * 2**30
    large = [node for node in nodes if node.get("memory", 0) >= memory]
    if not large:
        largest = max((node.get("memory", 0) for node in nodes), default=0) / 2**30
        log.warning(
            "step waits for a larger node step=%s needs_gb=%.1f largest_gb=%.1f setting=nightly.step_memory_gb",
            *(name, settings.nightly.step_memory_gb, largest),
        )
    taken = {"memory": memory} if memory else {}
    trains_itself = name in TRAINS and settings.sequence.workers == 1
    return taken | ({"num_gpus": 1.0} if trains_itself and any(node.get("GPU", 0) >= 1 for node in large) else {})


def _hear(night: NightlyRun, report: object) -> None:
    match report:
        case _Progress(what, done, total):
            night.progress(what, done, total)
        case logging.LogRecord():
            logger = logging.getLogger(report.name)
            if logger.isEnabledFor(report.levelno):
                logger.handle(report)
        case _Ended(told, peak_mb):
            night.told += told
            night.peak_mb = peak_mb


def _stop(task: ray.ObjectRef[Any]) -> None:
    """Where it still runs: Ctrl-C first, so that it ends what it has started, and then an end."""
    ray.cancel(task)
    if not ray.wait([task], timeout=STOP_S)[0]:
        ray.cancel(task, force=True)
        ray.wait([task], timeout=STOP_S / 2)


def _run(
    told: Queue, name: str, make: Make, night: NightlyRun, draft: StepOutputWriter, folder: Path, asked_threads: str
) -> Mapping[str, int]:
    """The step, in the process of a task. folder: the current one of the night, at which relative paths begin."""
    forget_peak_memory()
    n_told, n_threads = len(night.told), _n_threads(asked_threads)
    with ExitStack() as stack:
        if folder.is_dir():
            stack.enter_context(chdir(folder))
        _check_machine(name, night, draft)
        stack.enter_context(_logged_to(told))
        torch.set_num_threads(n_threads)
        stack.enter_context(threadpool_limits(n_threads))
        log.info("step started step=%s host=%s pid=%d threads=%d", name, gethostname(), os.getpid(), n_threads)
        try:
            counts = dict(make(night, draft))
            sync_tree(draft.folder)  # what other machines are to see
            return counts
        finally:
            told.put(_Ended(night.told[n_told:], peak_memory_mb()))


def _check_machine(name: str, night: NightlyRun, draft: StepOutputWriter) -> None:
    if not draft.folder.is_dir():
        raise StoreError(
            f"{night.workspace.root}: {gethostname()}, which is to run the step {name}, does not see this folder; keep "
            "the workspace on a disk that all machines of the cluster share, or at s3://, or unset RAY_ADDRESS"
        )
    if differing := [what for what, value in versions().items() if draft.inputs.get(what) != value]:
        raise ClusterError(
            f"step {name}: {gethostname()} has another version of {', '.join(differing)} than the machine of the "
            "night; give all machines of the cluster the same image"
        )


def _n_threads(asked: str) -> int:
    """As many as `OMP_NUM_THREADS` asks for where the night was started, else as the node has processors. Ray would
    give a task without processors one."""
    if asked.isdigit():
        return max(1, int(asked))
    own = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    in_books = next((node["Resources"].get("CPU", 0) for node in nodes if node["NodeID"] == own), 0)
    return int(in_books) or os.cpu_count() or 1


def _tell_progress(told: Queue, what: str, done: int, total: int | None) -> None:
    told.put(_Progress(what, done, total))


@contextmanager
def _logged_to(told: Queue) -> Iterator[None]:
    """What the product's own code logs goes to the process of the night, which shows and keeps it as its own."""
    handler = QueueHandler(told)
    loggers = [logging.getLogger(package) for package in _PACKAGES]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
