"""What every command shares: its workspace and settings, its log, its progress bars, and how it fails.

The only place of the batch side that configures logging.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from features.workspace.location import checked_place
from recsys.config import Settings
from recsys.errors import DataError
from recsys.settings_file import find_settings, load_settings
from recsys.workspace import Workspace

log = logging.getLogger(__name__)


WorkspaceOption = Annotated[
    str,
    typer.Option(
        "--workspace",
        "-w",
        envvar="RECSYS_WORKSPACE",
        parser=checked_place,
        metavar="FOLDER",
        help="Folder, or s3://bucket/prefix, that holds the shop's lake, store, releases and runs.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="RECSYS_CONFIG",
        help="Settings file; by default recsys.toml of the workspace, else of the current folder.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
AsOfOption = Annotated[
    str | None, typer.Option(help="Take the shop as it stood then (ISO time, UTC); by default its newest event.")
]


def clock() -> datetime:
    """The time now, for whoever must ask again and again."""
    return datetime.now(UTC)


def settings_of(workspace: Workspace, config: Path | None) -> Settings:
    """Settings of a command, as `find_settings` and `load_settings` say. Raises ConfigError."""
    return load_settings(find_settings(config, workspace.settings_file), os.environ)


def moment(text: str | None, option: str) -> datetime | None:
    """What the option says, in UTC. Raises DataError where it is no time."""
    if text is None:
        return None
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"{option} {text!r}: not a time; write it like 2026-03-31T02:00") from None
    return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)


def configure_logging(*, verbose: bool) -> None:
    """Warnings in colour on a terminal, whose progress bars say the rest; everything in plain lines elsewhere.

    What the terminal does not show is made all the same, for the log file of a run.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, level=logging.INFO if verbose else logging.WARNING)
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)
    else:
        level = logging.DEBUG if verbose else logging.INFO
        form = "%(asctime)s %(levelname)s %(name)s %(message)s"
        logging.basicConfig(level=level, format=form, force=True)


@contextmanager
def shown_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A function to call with (what, done, of how many): a bar for each `what` on a terminal, log lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda what, done, total: log.info("progress step=%r done=%d of=%s", what, done, total or "?")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show
