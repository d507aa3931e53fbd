"""Steps that misbehave, in a module of their own that Ray's workers can import."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import ray

from jobs.nightly.context import NightlyRun
from jobs.nightly.step_cache import StepOutputWriter
from recsys.errors import GateError

log = logging.getLogger("jobs.unruly_steps")


def tell(run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    """Logs, reports progress and warnings, and writes where it ran."""
    held = bytearray(os.urandom(1) * (100 << 20))
    run.progress("tell", 1, 2)
    log.info("telling bytes=%d", len(held))
    log.debug("not shown")
    run.progress("tell", 2, 2)
    run.messages.append("warning: of a step")
    where = {"pid": os.getpid(), "folder": str(Path.cwd()), "node": ray.get_runtime_context().get_node_id()}
    (draft.folder / "where.json").write_text(json.dumps(where))
    return {"steps": 1}


def hold_back(run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    run.messages.append("warning: before the end")
    raise GateError("run held back by a test: so it is")


def fail(run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    return {"never": {}["no such key"]}


def fill_the_disk(run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    raise OSError(28, "No space left on device", "a file")


def die_once(run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    """Leaves half of a result and is killed; the second time it finishes."""
    attempts = run.run_folder / "attempts"
    n_before = int(attempts.read_text()) if attempts.exists() else 0
    run.run_folder.mkdir(parents=True, exist_ok=True)
    attempts.write_text(str(n_before + 1))
    (draft.folder / f"attempt-{n_before}").touch()
    if n_before == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"before": n_before}


def die(run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


AT_WORK: Final = "at-work"


def wait(run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    """Reports that it has started, and runs without end, unless it did so before; holds a lock on
    `WORKSPACE/at-work`."""
    at_work = run.workspace.root / AT_WORK
    if at_work.exists():
        return {}
    with at_work.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        run.progress("wait", 0, None)
        while not threading.Event().wait(0.01):  # an interrupt is met between two waits
            pass
    return {}


def send_sigterm(run: NightlyRun, draft: StepOutputWriter) -> Mapping[str, int]:
    """To the main process, whose id is the run's id here, while it works as `wait` does."""
    threading.Timer(0.1, os.kill, (int(run.run_id), signal.SIGTERM)).start()
    return wait(run, draft)
