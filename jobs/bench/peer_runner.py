"""Run models of other libraries in a Python environment of their own."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl

from jobs.bench.data import META, META_FILE
from jobs.bench.measured_process import MeasuredAnswers, run_process
from jobs.bench.peers.models import PEERS
from jobs.training.held_out_requests import sample_rows
from recsys.errors import DataError

SCRIPT: Final = Path(__file__).parent / "peers" / "models.py"
REQUIREMENTS: Final = SCRIPT.with_name("requirements.txt")

DETERMINISTIC_PEERS: Final = frozenset({"LensKit item-item"})
"""Peers without randomness."""

Progress = Callable[[str, int, int | None], None]


def peers_python(cache: Path, progress: Progress) -> Path:
    """The interpreter of an environment below `cache` with `REQUIREMENTS`; the first call installs it, in minutes.

    The folder is named by the hash of the requirements and renamed once complete, so an interrupted installation is
    never used. Waits for another process that installs it. Raises DataError if the installation fails.
    """
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    place = cache / f"peers-py{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    python = Path("bin") / "python"
    with _locked(cache):
        if not (place / python).exists():
            draft = place.with_name(f"{place.name}.new")
            for left in (draft, place):  # of a killed installation; of an interpreter that was removed
                shutil.rmtree(left, ignore_errors=True)
            progress("peers: install", 0, None)
            _install(draft)
            draft.rename(place)
    return place / python


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One process at a time; the operating system releases the lock of a killed process."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "peers.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(draft: Path) -> None:
    for command in _commands(draft):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            lines = done.stdout.strip().splitlines() or ["no message"]
            message = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
            shutil.rmtree(draft, ignore_errors=True)
            raise DataError(
                f"--peers: installing the other libraries failed: {message}; check the connection to the package "
                f"index and run again, or leave out --peers"
            )


def _commands(draft: Path) -> list[list[str]]:
    install = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--requirement", str(REQUIREMENTS)]
    return [[sys.executable, "-m", "venv", str(draft)], [str(draft / "bin" / "python"), *install]]


def run_peer(python: Path, folder: Path, model: str, seed: int) -> MeasuredAnswers:
    """Run a peer as `bench_quality` runs our models. python: from `peers_python`; folder: written by `BenchData.save`.

    Raises DataError if the model fails, with the last line of its stderr.
    """
    _write_validation_users(folder)
    out = folder / f"peer-{list(PEERS).index(model)}-{seed}"
    try:
        # -I: environment variables and packages of the user must not bring in other versions
        return run_process([str(python), "-I", str(SCRIPT), str(folder), model, str(seed)], model, out)
    except DataError as error:
        raise DataError(f"{error}; if its libraries are damaged, delete {python.parents[1]} and run again") from None


def _write_validation_users(folder: Path) -> None:
    """Write the validation users on which our own models are tuned."""
    settings = META.validate_json((folder / META_FILE).read_bytes()).settings
    targets = pl.read_parquet(folder / "validation_targets.parquet")
    users = sample_rows(targets, settings.fusion.max_targets, settings.seed)
    users.write_parquet(folder / "validation_users.parquet")
