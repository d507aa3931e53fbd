"""The record of a nightly run, `runs/RUN_ID/run.json`: written when it starts, and again whenever a step ends.

A killed run leaves the status "running": whoever holds the workspace's lease next knows that it is not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError

from features.workspace.atomic_files import write_atomically
from recsys.errors import GateError, RecsysError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

RUN_FILE: Final = "run.json"
LOG_FILE: Final = "log.txt"
REPORT_FILE: Final = "report.html"
_PREFIX: Final = "night-"

RunStatus = Literal["running", "failed", "stopped", "held back", "finished", "published"]
StepStatus = Literal["running", "made", "reused", "failed"]


@dataclass
class StepRun:
    """One step of a run. peak_mb: largest resident memory while it ran, MiB; key: see `jobs/nightly/step_cache.py`."""

    name: str
    status: StepStatus = "running"
    key: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class RunRecord:
    """One run. asked_as_of, until, anew: what was asked for; moment: the clock when it first started, which a resumed
    run goes by; status "finished": there was nothing new to publish, or no more than some steps were asked for;
    "held back": checks or gate did not let it pass, as `error` says. forced: whether they may not stop it; told: what
    they would have stopped it for, or only told."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    run_id: str
    moment: AwareDatetime
    asked_as_of: AwareDatetime | None
    until: str
    anew: list[str]
    status: RunStatus = "running"
    release_id: str = ""
    forced: bool = False
    told: list[str] = field(default_factory=list)
    error: str = ""
    steps: list[StepRun] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.status in ("finished", "published")

    @property
    def keys(self) -> set[str]:
        """Of all results that it made or used."""
        return {step.key for step in self.steps if step.key}

    def step(self, name: str) -> StepRun:
        """The step as it begins, in the place of an earlier attempt."""
        self.steps = [step for step in self.steps if step.name != name]
        self.steps.append(StepRun(name))
        return self.steps[-1]


_JSON: Final = TypeAdapter(RunRecord)


def new_run_id(workspace: Workspace, now: datetime) -> str:
    """`night-20261123T030000Z`, with a number behind it where that one is taken."""
    run_id = name = f"{_PREFIX}{now:%Y%m%dT%H%M%SZ}"
    number = 1
    while (workspace.runs / run_id).exists():
        number += 1
        run_id = f"{name}-{number}"
    return run_id


def read_runs(workspace: Workspace) -> list[RunRecord]:
    """Every nightly run of the workspace, oldest first; a damaged record is left out and logged."""
    records = []
    for path in workspace.runs.glob(f"{_PREFIX}*/{RUN_FILE}"):
        try:
            records.append(_JSON.validate_json(path.read_bytes()))
        except (OSError, ValidationError) as error:
            log.warning("run unreadable path=%s error=%s", path, str(error).partition("\n")[0])
    return sorted(records, key=lambda record: (record.moment, len(record.run_id), record.run_id))


def read_record(path: Path) -> Mapping[str, Any]:
    """What a step or a night has left in a JSON file; empty where there is none, and where it is damaged, which is
    logged."""
    try:
        told = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        log.warning("record unreadable path=%s error=%s", path, error)
        return {}
    return told if isinstance(told, Mapping) else {}


def write_run(workspace: Workspace, record: RunRecord) -> None:
    folder = workspace.runs / record.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RUN_FILE, _JSON.dump_json(record, indent=2))


@contextmanager
def recorded(workspace: Workspace, record: RunRecord) -> Iterator[RunRecord]:
    """The run, from its first line to its outcome, whatever that is; what is logged meanwhile goes to its log file."""
    record.status, record.error = "running", ""
    write_run(workspace, record)
    with _logged_to(workspace.runs / record.run_id / LOG_FILE):
        try:
            yield record
        except BaseException as error:
            # SIGTERM arrives as SystemExit, Ctrl-C as KeyboardInterrupt: neither is a failure
            record.status = "failed" if isinstance(error, Exception) else "stopped"
            record.status = "held back" if isinstance(error, GateError) else record.status
            record.error = " ".join(str(error).split()) or type(error).__name__
            for step in record.steps:
                step.status = "failed" if step.status == "running" else step.status
            defect = isinstance(error, Exception) and not isinstance(error, RecsysError)
            log.info("night %s run=%s reason=%s", record.status, record.run_id, record.error, exc_info=defect)
            with suppress(OSError):  # a full disk shall not hide what went wrong
                write_run(workspace, record)
            raise
        log.info("night %s run=%s release_id=%s", record.status, record.run_id, record.release_id)
    write_run(workspace, record)


class _LogFile(logging.FileHandler):
    """A full disk costs lines of the log, never the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        pass


@contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
