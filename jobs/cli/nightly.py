"""`recsys nightly`: one run, a part of one, what one would do, or one every so many hours."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic, sleep
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

from features.store.store import Store
from features.workspace.location import NIGHT, reading, working
from jobs.cli.options import AsOfOption, ConfigOption, WorkspaceOption, clock, moment, settings_of, shown_progress
from jobs.nightly.plan import Planned
from jobs.nightly.record import REPORT_FILE
from jobs.nightly.run import Report
from recsys.errors import HELD_BACK, ConfigError
from recsys.workspace import Workspace

SLICE_NAMES = {
    "all": "all shoppers",
    "target_0": "item is new",
    "target_1_4": "item had 1-4",
    "target_5_19": "item had 5-19",
    "target_20_up": "item had 20+",
    "cold_user": "new shopper",
}

BESIDE = {"popularity": "popular", "sequence": "sequence", "linear": "linear", "text": "text"}


def print_summary(report: Report, workspace: Workspace) -> None:
    """Counts and times side by side, quality by slice, and where the release is."""
    console = Console()
    console.print(Columns([_counts(report), _times(report)], padding=(0, 4)))
    if report.metrics:
        console.print(_quality(report))
    for line in report.warnings:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    console.print(_outcome(report, workspace), highlight=False, soft_wrap=True, markup=False)
    page = workspace.runs / report.run_id / REPORT_FILE
    if page.is_file():
        console.print(f"report: {page}", highlight=False, soft_wrap=True, markup=False)


def _outcome(report: Report, workspace: Workspace) -> str:
    if report.published:
        forced = ", although checks or gate would have held it back" if report.forced else ""
        taken = f"; little is new: it goes on from {report.taken_from}" if report.taken_from else ""
        return f"release {report.release_id} is live in {workspace.shown}{forced}{taken}"
    if not report.release_id:
        return f"no release was asked for; {workspace.runs / report.run_id}"
    served = Store(workspace).current_id()
    live = "it is live" if served == report.release_id else f"{served} is live"
    return f"nothing has changed since release {report.release_id}; {live} in {workspace.root}"


def print_plan(planned: list[Planned]) -> None:
    """A row a step: what would be done with it, why, and what it took last time."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("step", "would", "last took", "why"):
        table.add_column(name, justify="right" if name == "last took" else "left", no_wrap=name != "why")
    for step in planned:
        table.add_row(step.step, step.verdict, "-" if step.seconds is None else f"{step.seconds:.1f} s", step.why)
    Console().print(table)


def _counts(report: Report) -> Table:
    table = _table("What there was", "", "rows")
    for name, count in report.counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _times(report: Report) -> Table:
    table = _table("What it took", "step", "seconds")
    for name, seconds in report.seconds.items():
        table.add_row(name, "reused" if name in report.reused else f"{seconds:.1f}")
    table.add_row("together", f"{sum(report.seconds.values()):.1f}", style="bold")
    return table


def _quality(report: Report) -> Table:
    """Recall and NDCG of the lists, and beside them the NDCG of the main sources alone."""
    fused = report.metrics["fused"]
    title = f"Next new item of held-out shoppers, 10 shown; coverage {fused['all']['coverage']:.0%}"
    table = _table(title, "slice", "shoppers", "recall", "ndcg", *BESIDE.values())
    for name, label in SLICE_NAMES.items():
        if fused[name]["n_users"]:
            others = (report.metrics[model][name]["ndcg"] for model in BESIDE)
            figures = (fused[name]["recall"], fused[name]["ndcg"], *others)
            table.add_row(label, f"{fused[name]['n_users']:,}", *(f"{figure:.4f}".lstrip("0") for figure in figures))
    if not table.rows:
        table.add_row("nobody to measure on")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    return table


log = logging.getLogger(__name__)

STOPPED: Final = 128 + signal.SIGTERM
PATIENCE_S: Final = 20.0
"""Less than the half minute after which Kubernetes kills."""
_SECONDS = {"m": 60, "h": 3600, "d": 86400}

# The command imports what it runs: torch and ray take seconds to import, and `recsys --help` shall not wait for them.


def nightly_command(
    workspace: WorkspaceOption,
    as_of: AsOfOption = None,
    config: ConfigOption = None,
    only: Annotated[str, typer.Option(help="Make this step anew, and nothing that follows.")] = "",
    since: Annotated[str, typer.Option("--from", help="Make this step and all that follow anew.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run, as of the moment it had.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and why; do nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Publish whatever checks and gate say; it is noted.")] = False,
    every: Annotated[str | None, typer.Option(help="Run again and again, as 24h, 90m or 1d; SIGTERM ends it.")] = None,
) -> None:
    """Learn from everything in the lake, measure it on the last days, and publish a release, if anything changed.

    Ends with 3 where new data or the new release did not pass the checks: what was served before stays.
    """
    if every is not None:
        if as_of or only or since or resume or dry_run or force:
            raise ConfigError("--every runs whole nights of now; leave the other options out")
        given = ["--workspace", workspace, *(["--config", str(config)] if config else [])]
        with ended_by_sigterm():
            run_every(seconds_of(every), [sys.executable, "-m", "jobs", "nightly", *given])
    from jobs.cli.nightly import print_plan, print_summary
    from jobs.nightly.run import Choice, dry_run_plan, nightly

    choice, given_as_of = Choice(only, since, resume, force), moment(as_of, "--as-of")
    if dry_run:
        with reading(workspace, "lake", "embeddings", "runs") as place:
            print_plan(dry_run_plan(place, settings_of(place, config), given_as_of, datetime.now(UTC), choice))
        return
    with ended_by_sigterm(), working(workspace, NIGHT, clock) as place:
        settings = settings_of(place, config)
        with shown_progress() as progress:
            report = nightly(place, settings, given_as_of, datetime.now(UTC), progress, choice)
    print_summary(report, place)


def seconds_of(text: str) -> float:
    """Of "90m", "24h" or "1d". Raises ConfigError for anything else."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([mhd])", text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds < 1:
        raise ConfigError(f"--every {text!r}: not a time between runs; write it like 24h, 90m or 1d")
    return seconds


def run_every(seconds: float, command: list[str]) -> NoReturn:
    """Run the command now and whenever so much time has passed since it last began, each in a process of its own: what
    it leaves in memory, or a crash, ends with it. A run that takes longer is followed at once by the next."""
    while True:
        started, night = monotonic(), None
        try:
            night = subprocess.Popen(command)
            code = night.wait()
        except SystemExit:  # SIGTERM: the run is told, and may end as it does alone
            if night is not None:
                night.terminate()
                night.wait()
            raise
        if code == HELD_BACK:
            log.warning("night held back; the served release stays, and the next night looks again")
        elif code:
            log.error("night failed exit_code=%d; the next one goes on where it stopped", code)
        wait = max(0.0, seconds - (monotonic() - started))
        log.info("next night in_s=%.0f", wait)
        sleep(wait)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as an exception does: leases are given back, and the record says that it was stopped.
    Ray, which may be at work meanwhile, passes the exception on with another exit code, which is mended here.

    Where a library does not come back to Python within `PATIENCE_S`, the process ends all the same; the operating
    system then gives back its locks, and the record is left as after a kill.
    """

    told = threading.Event()

    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - what handlers are given
        told.set()
        raise SystemExit(STOPPED)

    before = signal.signal(signal.SIGTERM, stop)
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    woken_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    done = threading.Event()
    threading.Thread(target=end_late, args=(reader, done), daemon=True).start()
    try:
        yield
    except SystemExit as end:
        raise SystemExit(STOPPED if told.is_set() else end.code) from None
    finally:
        signal.set_wakeup_fd(woken_before)
        signal.signal(signal.SIGTERM, before)
        done.set()
        writer.close()


def end_late(reader: socket.socket, done: threading.Event) -> None:
    """End the process `PATIENCE_S` after SIGTERM unless `done` by then. The interpreter writes the number of each
    signal to the other end of `reader` as it arrives, whatever library is running."""
    with reader:
        while numbers := reader.recv(64):
            if signal.SIGTERM in numbers and not done.wait(PATIENCE_S):
                os._exit(STOPPED)
