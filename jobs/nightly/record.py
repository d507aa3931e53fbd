"""The record of a nightly run, `runs/RUN_ID/run.json`: written when it starts, and again whenever a step ends.

A killed run leaves the status "running"; the next run, which holds the workspace's lease, changes it to "failed".
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AliasChoices, AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError

from features.workspace.atomic_files import write_atomically
from features.workspace.record_file import RecordFile
from recsys.errors import GateError, RecsysError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

RUN_FILE: Final = "run.json"
LOG_FILE: Final = "log.txt"
REPORT_FILE: Final = "report.html"
_PREFIX: Final = "run-"
_PREFIX_BEFORE: Final = "night-"
"""Of runs of earlier versions."""

RunStatus = Literal["running", "failed", "stopped", "held back", "finished", "published"]
StepStatus = Literal["running", "made", "reused", "failed"]


FORCED: Final = "forced past"
"""Prefix of the messages for findings that would have stopped the run without --force."""

Messages = Annotated[list[str], Field(validation_alias=AliasChoices("messages", "told"))]
"""Lines of text; records of earlier versions call the field `told`."""


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
    """One run. asked_as_of, until, anew: the requested options; moment: the time of its first start, which a resumed
    run keeps; status "finished": nothing new to publish, or only some steps were requested; "held back": checks or gate
    stopped it, see `error`. forced: checks and gate do not stop it; messages: their findings that did not stop it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    run_id: str
    moment: AwareDatetime
    asked_as_of: AwareDatetime | None
    until: str
    anew: list[str]
    status: RunStatus = "running"
    release_id: str = ""
    forced: bool = False
    messages: Messages = field(default_factory=list)
    error: str = ""
    steps: list[StepRun] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.status in ("finished", "published")

    @property
    def keys(self) -> set[str]:
        """Of all step results that it made or reused."""
        return {step.key for step in self.steps if step.key}

    def step(self, name: str) -> StepRun:
        """A new record of a step that starts, replacing that of an earlier attempt."""
        self.steps = [step for step in self.steps if step.name != name]
        self.steps.append(StepRun(name))
        return self.steps[-1]


@dataclass
class Report:
    """What one run did, as written to `runs/RELEASE_ID/report.json` where it published.

    published: whether a new release is live; release_id: the release that was made, now or (without changes) before; ""
    where the run ended earlier. taken_from: the release whose weights and ranker were reused; reused: the steps whose
    earlier results were; resumed: whether it continued an unfinished run. gate: its verdict; messages: of checks and
    gate, and what was forced.
    """

    as_of: datetime
    run_id: str = ""
    release_id: str = ""
    published: bool = False
    resumed: bool = False
    taken_from: str = ""
    reused: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    gate: str = ""
    messages: Messages = field(default_factory=list)

    @property
    def forced(self) -> bool:
        """Whether checks or gate would have stopped it."""
        return any(line.startswith(FORCED) for line in self.messages)


_JSON: Final = TypeAdapter(RunRecord)
REPORT: Final = RecordFile("report.json", TypeAdapter(Report))


def new_run_id(workspace: Workspace, now: datetime) -> str:
    """`run-20261123T030000Z`, with a number appended where that name is taken."""
    run_id = name = f"{_PREFIX}{now:%Y%m%dT%H%M%SZ}"
    number = 1
    while (workspace.runs / run_id).exists():
        number += 1
        run_id = f"{name}-{number}"
    return run_id


def read_runs(workspace: Workspace) -> list[RunRecord]:
    """Every nightly run of the workspace, oldest first; damaged records are skipped and logged."""
    records = []
    paths = (path for prefix in (_PREFIX_BEFORE, _PREFIX) for path in workspace.runs.glob(f"{prefix}*/{RUN_FILE}"))
    for path in paths:
        try:
            records.append(_JSON.validate_json(path.read_bytes()))
        except (OSError, ValidationError) as error:
            log.warning("run_unreadable path=%s error=%s", path, str(error).partition("\n")[0])
    return sorted(records, key=lambda record: (record.moment, len(record.run_id), record.run_id))


def write_run(workspace: Workspace, record: RunRecord) -> None:
    folder = workspace.runs / record.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RUN_FILE, _JSON.dump_json(record, indent=2))


@contextmanager
def recorded(workspace: Workspace, record: RunRecord) -> Iterator[RunRecord]:
    """Records the run from its start to its outcome, also after errors; log records meanwhile go to its log file."""
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
            log.info(
                "run_ended status=%s run=%s reason=%s", record.status, record.run_id, record.error, exc_info=defect
            )
            with suppress(OSError):  # a full disk must not hide the original error
                write_run(workspace, record)
            raise
        log.info("run_ended status=%s run=%s release_id=%s", record.status, record.run_id, record.release_id)
    write_run(workspace, record)


class _LogFile(logging.FileHandler):
    """On a full disk log lines are lost, but the run goes on."""

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
