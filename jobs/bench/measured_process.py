"""Run one model of a benchmark as a separate process, so that its peak memory is its own."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from pydantic import TypeAdapter

from features.processes.parent_death import ending_with_parent
from recsys.errors import DataError

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class ModelRun:
    """OUT.json of a model. fit_s: seconds of the last fit; chosen: its settings, and the NDCG@10 on validation."""

    fit_s: float
    peak_mb: float
    chosen: Mapping[str, Any]


MODEL_RUN: Final = TypeAdapter(ModelRun)

MeasuredAnswers = tuple[np.ndarray, np.ndarray, ModelRun]
"""ranks and shown, as in `jobs.bench.scoring.Answer`, and the figures of the run."""


def run_process(command: Sequence[str], model: str, out: Path) -> MeasuredAnswers:
    """Lists and figures of a model, run by `run_measured`."""
    arrays, figures = run_measured(command, model, out, MODEL_RUN)
    return arrays["ranks"], arrays["shown"], figures


def run_measured(
    command: Sequence[str], model: str, out: Path, record: TypeAdapter[T]
) -> tuple[dict[str, np.ndarray], T]:
    """Run the command with OUT as its last argument; returns the content of OUT.npz and OUT.json.

    Raises DataError if it fails, with the model's name and the last line of its stderr.
    """
    # The stdout of libraries is not part of the report.
    done = subprocess.run(
        ending_with_parent([*command, str(out)]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        if done.returncode < 0:
            message = f"killed by signal {-done.returncode}; it may have run out of memory"
        else:
            message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"model {model!r} failed: {message}")
    figures = record.validate_json(Path(f"{out}.json").read_bytes())
    log.info("model measured model=%r out=%s %s", model, out.name, figures)
    with np.load(f"{out}.npz", allow_pickle=False) as arrays:
        return dict(arrays), figures
