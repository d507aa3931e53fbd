"""Options, settings, progress bars, JSON output and logging that the commands share.

The only place of the batch side that configures logging.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter
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
        help="Workspace folder or s3://bucket/prefix: data lake, store, releases and runs of the shop.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="RECSYS_CONFIG",
        help="Settings file. Default: recsys.toml in the workspace, else in the current folder.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
FiguresOption = Annotated[Path, typer.Option("--json", dir_okay=False, help="Write the results to this JSON file.")]
AsOfOption = Annotated[
    str | None,
    typer.Option(help="Use only data before this time (ISO 8601, UTC). Default: time of the newest event."),
]


def clock() -> datetime:
    """The current time, UTC; passed to functions that read the time repeatedly."""
    return datetime.now(UTC)


def settings_of(workspace: Workspace, config: Path | None) -> Settings:
    """Settings of a command, found and read as `find_settings` and `load_settings` do. Raises ConfigError."""
    return load_settings(find_settings(config, workspace.settings_file), os.environ)


def moment(text: str | None, option: str) -> datetime | None:
    """Parse the value of a time option into UTC. Raises DataError for anything but an ISO 8601 time."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"{option} {text!r}: not a time; use ISO 8601 such as 2026-03-31T02:00") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def check_json_folder(json_path: Path) -> None:
    """Raise DataError, before the work begins, where the folder of a `--json` file does not exist."""
    if not json_path.absolute().parent.is_dir():
        raise DataError(f"--json {json_path}: folder {json_path.absolute().parent} does not exist; create it first")


def write_json(json_path: Path, record: object) -> None:
    """Write a dataclass as JSON, its fields by alias. NaN becomes null: JSON has no NaN."""
    json_path.write_bytes(TypeAdapter(type(record)).dump_json(record, by_alias=True, indent=1))


def print_json(content: object) -> None:
    """Print to standard output. Times are written in ISO 8601, other objects as text."""
    sys.stdout.write(json.dumps(content, indent=2, default=_as_text, ensure_ascii=False) + "\n")


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def configure_logging(*, verbose: bool) -> None:
    """On a terminal: warnings in colour, beside the progress bars. Elsewhere: all messages as plain lines.

    Messages that the terminal hides are still created, because a run writes them to its log file.
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
    """A function to call with (step, done, total or None): a bar for each step on a terminal, log lines elsewhere."""
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
