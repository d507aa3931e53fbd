"""One model of a benchmark in a process of its own, so that the peak of its memory is its own."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsys.errors import DataError

log = logging.getLogger(__name__)


MeasuredAnswers = tuple[np.ndarray, np.ndarray, dict[str, Any]]
"""ranks and shown, as in `bench_models.Answer`, and the figures of the run: fit_s, peak_mb, chosen."""


def run_process(command: Sequence[str], model: str, out: Path) -> MeasuredAnswers:
    """The lists of a model, as `run_measured` gets them."""
    arrays, told = run_measured(command, model, out)
    return arrays["ranks"], arrays["shown"], told


def run_measured(command: Sequence[str], model: str, out: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What the command, with OUT as its last argument, leaves in OUT.npz and OUT.json.

    Raises DataError where it fails, with the model's name and the last line that it wrote to its stderr.
    """
    # what libraries say on their stdout is no part of the report
    done = subprocess.run(
        [*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        if done.returncode < 0:
            said = f"ended by signal {-done.returncode}; it may have needed more memory than there is"
        else:
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"model {model!r} failed: {said}")
    told = json.loads(Path(f"{out}.json").read_text())
    log.info("model measured model=%r out=%s %s", model, out.name, told)
    with np.load(f"{out}.npz", allow_pickle=False) as arrays:
        return dict(arrays), told
