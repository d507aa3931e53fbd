"""Kill nightly runs with SIGKILL at random times in every step and resume them.

Checks that the live release is always complete, and that the result equals that of an undisturbed run.

python tests/benchmarks/nightly_crash.py [--kills 50] [--seed 0] [--json OUT]

Kills go through the steps in turn. A run that has ended is compared with an undisturbed one, and the next run begins.
Every second run trains from scratch, the others reuse what the served release has learned.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import torch

from features.store.store import Release, Store
from jobs.ingest.files import ingest
from jobs.ingest.sources.sample import make_sample
from jobs.lake.lake import Lake
from jobs.lake.snapshot import newest_moment
from jobs.nightly.record import read_runs
from jobs.nightly.run import Choice, nightly
from jobs.nightly.steps import STEPS
from recsys.config import Settings
from recsys.workspace import Workspace

SETTINGS = {
    "embed": {"inline_texts": 100_000},
    "factors": {"dim": 8},
    "evaluate": {"min_users": 30},
    "sequence": {"dim": 16, "layers": 1, "epochs": 3},
    "fusion": {"min_targets": 5},
    "ranking": {"min_targets": 5, "min_leaf": 5, "trees": 10},
}
SHARES = (0.0, 0.5)
"""`nightly.full_retrain_share` of the runs in turn."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = Storm(Path(folder), options.seed).run(options.kills)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 1 if result["not whole"] or result["not equal"] else 0


def settings_of(share: float) -> Settings:
    return Settings.model_validate(SETTINGS | {"nightly": {"full_retrain_share": share}})


def run_once(root: Path, share: float, as_of: datetime, resume: bool) -> None:
    torch.set_num_threads(1)
    choice = Choice(resume=resume)
    nightly(Workspace(root), settings_of(share), as_of, datetime.now(UTC), lambda *_: None, choice)


class Storm:
    """A shop with one release, copies of it for the killed runs, and undisturbed runs to compare with."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        # Runs are forked from a process that has imported the slow modules, but neither polars nor LanceDB:
        # their threads do not survive a fork.
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["torch", "transformers", "lightgbm", "scipy.sparse", "ray", "implicit"])
        self.shop = Workspace(folder / "shop")
        now = datetime.now(UTC)
        sample = make_sample(self.shop.sample, n_products=80, n_shoppers=120, days=20, seed=1)
        ingest(self.shop, sample, settings_of(0).ingest, now)
        self.as_of = newest_moment(Lake(self.shop.lake))
        self._complete_run(self.shop, 0.0, self.as_of - timedelta(hours=12))
        shutil.rmtree(self.shop.steps)
        self.undisturbed = [self._copy(f"undisturbed-{share}") for share in SHARES]
        for workspace, share in zip(self.undisturbed, SHARES, strict=True):
            self._complete_run(workspace, share, self.as_of)
        self.seconds = [{step.name: step.seconds for step in read_runs(place)[-1].steps} for place in self.undisturbed]

    def run(self, n_kills: int) -> dict[str, object]:
        started = time.monotonic()
        kills: Counter[str] = Counter()
        not_whole: list[str] = []
        not_equal: list[str] = []
        n_runs = 0
        while sum(kills.values()) < n_kills:
            which = n_runs % len(SHARES)
            disturbed = self._copy("disturbed")
            self._disturb(disturbed, which, n_kills, kills, not_whole)
            not_equal += differences(Store(disturbed).open(), Store(self.undisturbed[which]).open())
            shutil.rmtree(disturbed.root)
            n_runs += 1
            print(f"run {n_runs}: {sum(kills.values())} kills, {time.monotonic() - started:.0f} s", flush=True)
        return {
            "kills": sum(kills.values()),
            "kills by step": dict(kills),
            "runs": n_runs,
            "not whole": not_whole,
            "not equal": not_equal,
            "seconds": round(time.monotonic() - started),
        }

    def _disturb(
        self, workspace: Workspace, which: int, n_kills: int, kills: Counter[str], not_whole: list[str]
    ) -> None:
        """Start a run and kill it in one step after the other until it ends by itself."""
        resume = False
        for step in (step.name for step in STEPS):
            process = self._start(workspace, SHARES[which], self.as_of, resume)
            if not self._is_running(workspace, process, step):
                return
            time.sleep(self.draw.uniform(0, self.seconds[which][step]))
            if process.is_alive() and process.pid:
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                kills[step] += 1
            resume = True
            try:
                Store(workspace).open()
            except Exception as error:
                not_whole.append(f"{step}: {error}")
            if sum(kills.values()) >= n_kills:
                break
        self._ended(self._start(workspace, SHARES[which], self.as_of, resume))

    def _is_running(self, workspace: Workspace, process: ForkServerProcess, step: str) -> bool:
        """Whether the run has reached that step; False if it ended before."""
        while process.is_alive():
            runs = [run for run in read_runs(workspace) if run.asked_as_of == self.as_of]
            if runs and any(recorded.name == step and recorded.status == "running" for recorded in runs[-1].steps):
                return True
            time.sleep(0.002)
        self._ended(process)
        return False

    def _start(self, workspace: Workspace, share: float, as_of: datetime, resume: bool) -> ForkServerProcess:
        process = self.processes.Process(target=run_once, args=(workspace.root, share, as_of, resume))
        process.start()
        return process

    def _complete_run(self, workspace: Workspace, share: float, as_of: datetime) -> None:
        self._ended(self._start(workspace, share, as_of, resume=False))

    def _ended(self, process: ForkServerProcess) -> None:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a run ended with {process.exitcode}")

    def _copy(self, name: str) -> Workspace:
        target = self.folder / name
        shutil.copytree(self.shop.root, target)
        return Workspace(target)


def differences(release: Release, other: Release) -> list[str]:
    """The files and tables that differ between two releases."""
    names = release.manifest.files.keys() | other.manifest.files.keys()
    differing = [name for name in sorted(names) if release.manifest.files.get(name) != other.manifest.files.get(name)]
    differing = [
        name for name in differing if not _close(release.model_dir.parent / name, other.model_dir.parent / name)
    ]
    return differing + [name for name in release.manifest.tables if not release.table(name).equals(other.table(name))]


def _close(path: Path, other: Path) -> bool:
    """Arrays may differ in the last bit if a library adds in another order."""
    if path.suffix != ".npy" or not other.exists():
        return False
    array, two = np.load(path), np.load(other)
    return array.shape == two.shape and bool(np.allclose(array, two, rtol=1e-5, atol=1e-7))


if __name__ == "__main__":
    sys.exit(main())
