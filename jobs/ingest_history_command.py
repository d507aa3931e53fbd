"""`recsys ingest history`, `undo` and `again`: what came into the lake lately, and the way back."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import NIGHT, reading, working
from jobs.command_line import ConfigOption, JsonOption, WorkspaceOption, clock, settings_of, shown_progress
from jobs.ingest_history import source_of
from jobs.ingest_undo import take_again, undo
from jobs.lake import Lake
from jobs.lake_history import Change

ID = typer.Argument(metavar="ID", help="Number of an ingest, as `recsys ingest history` shows it.")


def history_command(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """What was ingested lately, by hand or by a night, the last first."""
    with reading(workspace, "lake") as place:
        history = Lake(place.lake).history
    changes = sorted((*history.changes, *history.undone), key=lambda change: change.id, reverse=True)
    if as_json:
        sys.stdout.write(json.dumps([_told(change) for change in changes], indent=2, ensure_ascii=False) + "\n")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("id", justify="right")
    for column in ("ingested (UTC)", "rows", "what", "undone (UTC)"):
        table.add_column(column, overflow="fold")
    for change in changes:
        rows = "\n".join(_rows(name, *counts) for name, counts in change.rows.items() if any(counts)) or "nothing new"
        undone = f"{change.undone_at:%Y-%m-%d %H:%M}" if change.undone_at else ""
        table.add_row(str(change.id), f"{change.at:%Y-%m-%d %H:%M}", rows, source_of(change).words(), undone)
    Console().print(table)


def undo_command(ids: Annotated[list[int], ID], workspace: WorkspaceOption, config: ConfigOption = None) -> None:
    """Make the lake what it was before these ingests. A night does not take the same files or events again."""
    with working(workspace, NIGHT, clock) as place:
        undone = undo(place, ids, settings_of(place, config), datetime.now(UTC))
    console = Console()
    for change in reversed(undone):
        console.print(f"Undone: {_line(change)}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        "No night takes these again, but corrected files as any new ones; `recsys ingest again ID` takes all of one.",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def again_command(undone_id: Annotated[int, ID], workspace: WorkspaceOption, config: ConfigOption = None) -> None:
    """Take again what was undone: its files as they are now, or its events of the live database."""
    with working(workspace, NIGHT, clock) as place, shown_progress() as progress:
        change = take_again(place, undone_id, settings_of(place, config), datetime.now(UTC), progress)
    said = f"Taken again: {_line(change)}" if change else "Nothing to take: every row is in the lake."
    Console().print(said, soft_wrap=True, highlight=False, markup=False)


def add_history_commands(app: typer.Typer) -> None:
    for name, command in (("history", history_command), ("undo", undo_command), ("again", again_command)):
        app.command(name)(command)


def _line(change: Change) -> str:
    counts = ", ".join(_rows(name, *counts) for name, counts in change.rows.items() if any(counts)) or "nothing new"
    return f"ingest {change.id}, {counts}, {source_of(change).words()}"


def _rows(table: str, n_new: int, n_updated: int) -> str:
    parts: Sequence[str] = [f"{n:,} {word}" for n, word in ((n_new, "new"), (n_updated, "updated")) if n]
    return f"{table} {', '.join(parts)}"


def _told(change: Change) -> dict[str, Any]:
    rows = {table: {"new": n_new, "updated": n_updated} for table, (n_new, n_updated) in change.rows.items()}
    undone = change.undone_at.isoformat() if change.undone_at else None
    told = {"id": change.id, "at": change.at.isoformat(), "rows": rows, "source": change.source}
    return told | {"undone_at": undone}
