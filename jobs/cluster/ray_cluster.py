"""The Ray cluster that the batch jobs run on: the one `RAY_ADDRESS` names, else a local one."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import ray
from ray.data import DataContext
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from features.processes.run_folder import RunFolder, clear_dead_runs

log = logging.getLogger(__name__)

LOCAL: Final = "local"


def cluster_address() -> str:
    """Of the cluster that `RAY_ADDRESS` names; "local" where it names none."""
    return os.environ.get("RAY_ADDRESS") or LOCAL


def start_ray() -> None:
    """Connect to Ray, or start it on this machine, unless this process has done so already. Takes seconds.

    Ray's progress bars, notes and the workers' output stay off the terminal, and in its own session logs. What this
    process does on SIGTERM stays as it was.
    """
    with warnings.catch_warnings():
        # Ray Data's own defaults set options that Ray Data deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage data
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ side writes straight to the terminal
        # Without it Ray warns about a default of its next versions, in which a task without GPUs still sees them.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        with warnings.catch_warnings(), _native_errors_hidden(), _sigterm_as_it_was(), _files_of_run() as options:
            # lancedb warns of every fork in a process that has imported it; Ray's forks start programs of their own.
            warnings.filterwarnings("ignore", message=".*fork.*", category=RuntimeWarning)
            ray.init(
                # "local" and not None: None would join whatever cluster last started on this machine.
                address=cluster_address(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )


def this_node() -> NodeAffinitySchedulingStrategy:
    """Where a task or actor is to run that belongs on the machine of this process."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


@contextmanager
def _files_of_run() -> Iterator[dict[str, Any]]:
    """Options of `ray.init`: a local cluster has its files in a folder of its own, which goes when this process ends,
    or has shut Ray down and starts it again. A running cluster has its files where it wants."""
    if cluster_address() != LOCAL:
        yield {}
        return
    _close_runs()
    for orphans in clear_dead_runs():
        log.warning("orphans_ended %s", orphans)
    run = RunFolder()
    _RUNS.append(run)
    with run.marked():
        yield {"_temp_dir": str(run.ray)}


def _close_runs() -> None:
    while _RUNS:
        _RUNS.pop().close()


def _end() -> None:
    """Ray first: it writes to its files until it ends."""
    if _RUNS:
        ray.shutdown()
        _close_runs()


_RUNS: Final[list[RunFolder]] = []
"""The folder of the local cluster of this process, where there is one."""

atexit.register(_end)


@contextmanager
def _sigterm_as_it_was() -> Iterator[None]:
    """Ray takes SIGTERM over for the whole process, and ends it with another code."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _native_errors_hidden() -> Iterator[None]:
    """Ray's C++ side announces its log level on standard error; what goes wrong comes as an exception as well."""
    sys.stderr.flush()
    saved_stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved_stderr, 2)
        os.close(saved_stderr)
        os.close(nowhere)
