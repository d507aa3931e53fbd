"""Models of other libraries beside ours: an environment of their own, and a run of one of them in it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl

from jobs.bench.measured_process import MeasuredAnswers, run_process
from jobs.bench.peers.models import PEERS
from jobs.training.held_out_requests import sample_rows
from recsys.config import Settings
from recsys.errors import DataError

SCRIPT: Final = Path(__file__).parent / "peers" / "models.py"
REQUIREMENTS: Final = SCRIPT.with_name("requirements.txt")

DETERMINISTIC_PEERS: Final = frozenset({"LensKit item-item"})
"""Peers that draw nothing at random."""

Progress = Callable[[str, int, int | None], None]


def peers_python(cache: Path, progress: Progress) -> Path:
    """The interpreter of an environment below `cache` that has `REQUIREMENTS`; made at the first call, minutes long.

    The environment is named by what it was made from and gets its name when it is complete, so a killed installation
    is never taken up. Another process that makes it is waited for. Raises DataError where it cannot be made.
    """
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    place = cache / f"peers-py{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    python = Path("bin") / "python"
    with _locked(cache):
        if not (place / python).exists():
            draft = place.with_name(f"{place.name}.new")
            for left in (draft, place):  # of a killed installation; of an interpreter that is gone
                shutil.rmtree(left, ignore_errors=True)
            progress("peers: install", 0, None)
            _make(draft)
            draft.rename(place)
    return place / python


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One process at a time; the operating system frees the lock of one that was killed."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "peers.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(draft: Path) -> None:
    for command in _commands(draft):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            lines = done.stdout.strip().splitlines() or ["no message"]
            said = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
            shutil.rmtree(draft, ignore_errors=True)
            raise DataError(
                f"--peers: the environment of the other libraries cannot be made: {said}; mend that, e.g. the way to "
                f"the package index, and run again, or leave --peers out"
            )


def _commands(draft: Path) -> list[list[str]]:
    install = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--requirement", str(REQUIREMENTS)]
    return [[sys.executable, "-m", "venv", str(draft)], [str(draft / "bin" / "python"), *install]]


def run_peer(python: Path, folder: Path, model: str, seed: int) -> MeasuredAnswers:
    """As `bench_quality` runs a model of ours. python: from `peers_python`; folder: what `BenchData.save` wrote.

    Raises DataError where the model fails, with what it said.
    """
    _ask(folder)
    out = folder / f"peer-{list(PEERS).index(model)}-{seed}"
    try:
        # isolated: neither variables nor packages of the user may bring in other versions
        return run_process([str(python), "-I", str(SCRIPT), str(folder), model, str(seed)], model, out)
    except DataError as error:
        raise DataError(f"{error}; if its libraries are damaged, remove {python.parents[1]} and run again") from None


def _ask(folder: Path) -> None:
    """Write the validation users that our own models are tuned on."""
    settings = Settings.model_validate(json.loads((folder / "meta.json").read_text())["settings"])
    targets = pl.read_parquet(folder / "validation_targets.parquet")
    asked = sample_rows(targets, settings.fusion.max_targets, settings.seed)
    asked.write_parquet(folder / "validation_asked.parquet")
